#pragma once
// A target without an engine: the answer to every request takes the same time.
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "bench/load_target.h"

namespace iol::bench {

/// Gives each request its tokens at even distances over `answer_s` seconds from its arrival, from
/// one thread of its own, 5 ms late at most on an idle machine. What a load
/// generator does with it is the generator's own.
class NullTarget : public LoadTarget {
 public:
  explicit NullTarget(double answer_s);
  ~NullTarget() override;
  NullTarget(const NullTarget&) = delete;
  NullTarget& operator=(const NullTarget&) = delete;

  std::optional<std::string> send(const WorkloadRequest& request, RequestResult& result,
                                  std::function<void()> on_end) override;

 private:
  struct Answer {
    std::int64_t begin_ns = 0;
    std::int64_t num_tokens = 0;
    RequestResult* result = nullptr;
    std::function<void()> on_end;
  };

  void serve();
  bool advance(Answer& answer, std::int64_t now) const;

  std::int64_t answer_ns_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Answer> arrived_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace iol::bench
