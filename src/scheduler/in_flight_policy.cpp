#include "scheduler/policies.h"

namespace iol {

void plan_in_flight_step(StepPlanner& step) {
  step.add_decodes();
  step.add_prefills();
  // Who just lost its blocks must not take them back from who needed them.
  if (step.num_preemptions() == 0) step.admit_for_step();
  step.add_drafts();
}

}  // namespace iol
