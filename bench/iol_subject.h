#pragma once
#include <memory>

#include "bench/child_subject.h"
#include "engine/engine.h"

namespace iol::bench {

/// Our engine in a process of its own: this program again, as its hidden engine child. A process
/// per subject is what makes the memory of the subjects comparable, and keeps the engine's threads
/// and caches out of the process that measures.
std::unique_ptr<Subject> make_iol_subject(const EngineConfig& config, const std::string& name);

/// The option of `iol bench` that makes it the engine child; the configuration follows as JSON.
inline constexpr const char* kEngineChildOption = "--engine-child";

}  // namespace iol::bench
