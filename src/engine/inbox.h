#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/request_state.h"

namespace iol {

/// What other threads ask of the engine's thread, in the order in which they asked.
class Inbox {
 public:
  struct Contents {
    std::vector<std::unique_ptr<RequestState>> submitted;
    std::vector<RequestId> cancelled;
    bool clear_prefixes = false;  // before the submitted ones
    bool stopping = false;
  };

  void submit(std::unique_ptr<RequestState> request);
  void cancel(RequestId request);
  void clear_prefixes();
  void stop();

  /// Takes everything. With `wait`, sleeps until there is something.
  Contents take(bool wait);
  /// Called by the engine's thread: how many requests it holds.
  void set_num_active(std::size_t num_active);
  /// Sleeps until no request is waiting here or active.
  void wait_until_idle();

 private:
  [[nodiscard]] bool has_mail() const;

  std::mutex mutex_;
  std::condition_variable mail_;
  std::condition_variable idle_;
  Contents contents_;
  std::size_t num_active_ = 0;
};

}  // namespace iol
