#include "engine/step_clock.h"

#include <algorithm>
#include <utility>

namespace iol {

void StepClock::on_idle(std::int64_t now_ns) {
  free_ns_ = now_ns;
  holds_up_ = false;
}

void StepClock::on_begun(StepUnderWay& step, std::int64_t now_ns) {
  step.beginning_ns = now_ns - step.begin_ns;
  step.was_held_up = std::exchange(holds_up_, step.batch.num_draft_tokens > 0);
}

void StepClock::on_ended(const StepUnderWay& step, std::int64_t now_ns) {
  const bool was_idle = step.begin_ns >= end_ns_;
  hidden_ns_ = was_idle ? std::min(step.beginning_ns, begun_ns_) : 0;
  begun_ns_ = now_ns - std::max(step.begin_ns + step.beginning_ns, end_ns_);
  step_ns_ = now_ns - std::max(step.begin_ns, end_ns_) - hidden_ns_;
  end_ns_ = now_ns;
}

StepTime StepClock::time_of(const StepUnderWay& step, std::int64_t now_ns) const {
  std::int64_t drafting_ns = 0;
  if (step.batch.num_draft_tokens > 0) {
    drafting_ns = now_ns - free_ns_ - step_ns_;
  } else if (step.was_held_up) {
    drafting_ns = step.begin_ns - free_ns_ + hidden_ns_;
  }
  return {step_ns_, drafting_ns, step.ran_prepared};
}

}  // namespace iol
