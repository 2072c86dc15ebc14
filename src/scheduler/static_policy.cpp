#include "scheduler/policies.h"

namespace iol {

void plan_static_step(StepPlanner& step) {
  // Whole lengths are reserved, so that no member is preempted and falls out of its batch.
  if (!step.has_running()) step.admit_for_whole_length();
  step.add_prefills();
  if (!step.is_step_empty()) return;
  step.add_decodes();
  step.add_drafts();
}

}  // namespace iol
