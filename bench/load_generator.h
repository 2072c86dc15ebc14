#pragma once
// Sends a load to a target and notes what came of it.
#include <functional>

#include "bench/load_target.h"
#include "bench/subject.h"
#include "engine/engine.h"

namespace iol::bench {

/// Closed loop (`load.concurrency` above 0): so many requests are under way until none is left to
/// send; the end of one sends the next, from the thread that brought the end and without waking
/// another one.
///
/// Open loop (`load.concurrency` 0): every request is sent when it is due, from the caller's
/// thread, whatever became of the earlier ones. Its intended start is the moment it was due, so
/// that a generator that comes late shows in the latencies and never flatters. How late it was and
/// what processor time it took is in the result's details under `generator`: {`lateness_p50_ms`,
/// `lateness_p99_ms`, `lateness_max_ms`, `processor_s`, `in_flight_max`}.
///
/// `on_completed` is called with the number of ended requests from the target's thread; it must not
/// block. Returns when all requests have ended; a refused or failed request carries its error.
RunResult run_load(LoadTarget& target, const Load& load,
                   const std::function<void(std::int64_t)>& on_completed);

/// The same against an engine in this process; drained when this returns.
RunResult run_load(Engine& engine, const Load& load,
                   const std::function<void(std::int64_t)>& on_completed);

}  // namespace iol::bench
