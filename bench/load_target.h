#pragma once
#include <functional>
#include <optional>
#include <string>

#include "bench/subject.h"

namespace iol::bench {

/// What a load generator sends requests to: an engine in this process, a server.
class LoadTarget {
 public:
  virtual ~LoadTarget() = default;

  /// Starts `request` without waiting for it, and fills tokens, their times and the error of
  /// `result` as the answer comes, from any one thread at a time. `on_end` is called once, when the
  /// client has its last token or knows that none will come; it may call send() itself. Returns
  /// why the request was refused, and then never calls `on_end`.
  virtual std::optional<std::string> send(const WorkloadRequest& request, RequestResult& result,
                                          std::function<void()> on_end) = 0;

  /// True when nothing more is to be sent: the rest of the load is refused without waiting for it.
  [[nodiscard]] virtual bool is_cancelled() const { return false; }
};

}  // namespace iol::bench
