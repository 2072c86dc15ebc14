#pragma once
// One function per policy, one file per function: what a step is made of.
#include "scheduler/step_planner.h"

namespace iol {

/// Requests join and leave at every step; decodes never wait for a prefill.
void plan_in_flight_step(StepPlanner& step);

/// The classic baseline: a batch is formed, its prompts are computed, and it runs until its last
/// request has ended. Only then is the next one formed.
void plan_static_step(StepPlanner& step);

}  // namespace iol
