#include "bench/load/null_target.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/clock.h"

namespace iol::bench {

NullTarget::NullTarget(double answer_s)
    : answer_ns_(static_cast<std::int64_t>(answer_s * 1e9)), thread_([this] { serve(); }) {}

NullTarget::~NullTarget() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

std::optional<std::string> NullTarget::send(const WorkloadRequest& request, RequestResult& result,
                                            std::function<void()> on_end) {
  if (request.prompt_tokens.empty()) return "the prompt is empty";
  const std::lock_guard lock(mutex_);
  arrived_.push_back({now_ns(), request.output_tokens, &result, std::move(on_end)});
  return std::nullopt;  // the thread looks by itself: waking it here would be the sender's work
}

void NullTarget::serve() {
  constexpr std::chrono::microseconds kTick(5000);
  std::vector<Answer> under_way;
  std::deque<Answer> arrived;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, kTick, [&] { return stopping_; });
      if (stopping_) return;
      arrived.swap(arrived_);
    }
    for (auto& answer : arrived) under_way.push_back(std::move(answer));
    arrived.clear();
    const auto now = now_ns();
    std::erase_if(under_way, [&](Answer& answer) {
      if (!advance(answer, now)) return false;
      answer.on_end();
      return true;
    });
  }
}

/// Gives what is due by `now`; true when that was the last token.
bool NullTarget::advance(Answer& answer, std::int64_t now) const {
  auto& times = answer.result->token_times_ns;
  const auto given = static_cast<std::int64_t>(times.size());
  const auto elapsed = static_cast<double>(now - answer.begin_ns) / static_cast<double>(answer_ns_);
  const auto due =
      std::min(static_cast<std::int64_t>(elapsed * static_cast<double>(answer.num_tokens)),
               answer.num_tokens);
  for (std::int64_t i = given; i < due; ++i) {
    times.push_back(now);
    answer.result->tokens.push_back(static_cast<std::int32_t>(i));
  }
  return due == answer.num_tokens;
}

}  // namespace iol::bench
