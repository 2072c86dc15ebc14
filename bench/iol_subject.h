#pragma once
#include <memory>

#include "bench/child_subject.h"
#include "engine/engine.h"

namespace iol::bench {

/// Our engine in a process of its own: this program again, as its hidden engine child. A process
/// per subject is what makes the memory of the subjects comparable, and keeps the engine's threads
/// and caches out of the process that measures.
/// `slow_steps` makes every step take that share longer, for experiments on what a comparison sees.
std::unique_ptr<Subject> make_iol_subject(const EngineConfig& config, const std::string& name,
                                          double slow_steps = 0);

/// The option of `iol bench` that makes it the engine child; the configuration follows as JSON.
inline constexpr const char* kEngineChildOption = "--engine-child";

}  // namespace iol::bench
