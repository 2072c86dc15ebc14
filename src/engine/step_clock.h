#pragma once
#include <cstdint>

#include "engine/speculation.h"
#include "engine/step_under_way.h"

namespace iol {

/// What steps take on a device that runs ahead, and what of it drafts cost: for the cost model.
/// Such a device hides all that the host does for a step behind the step before, unless the step
/// has drafts or was held up by them: then also beginning it stands where, without drafts, the step
/// before would still have run. Times in nanoseconds.
class StepClock {
 public:
  /// Nothing was to do until now.
  void on_idle(std::int64_t now_ns);
  /// The next step waits for drafts, which may not come.
  void on_waiting() { holds_up_ = true; }
  /// The host has begun the step.
  void on_begun(StepUnderWay& step, std::int64_t now_ns);
  /// The device is through with it.
  void on_ended(const StepUnderWay& step, std::int64_t now_ns);
  /// When the last step ended.
  [[nodiscard]] std::int64_t end_ns() const { return end_ns_; }
  /// Of the step that ended last, its tokens having been delivered.
  [[nodiscard]] StepTime time_of(const StepUnderWay& step, std::int64_t now_ns) const;
  /// The host is done with the step.
  void on_done(std::int64_t now_ns) { free_ns_ = now_ns; }

 private:
  bool holds_up_ = false;       // drafts keep the next step from being begun ahead
  std::int64_t free_ns_ = 0;    // when the step before was done with, or the first request came
  std::int64_t end_ns_ = 0;     // of the last step
  std::int64_t step_ns_ = 0;    // that the device was busy with it
  std::int64_t begun_ns_ = 0;   // of that, once it was begun
  std::int64_t hidden_ns_ = 0;  // of beginning it, without drafts
};

}  // namespace iol
