#pragma once
// Drives an engine in this process with a load and notes when each token arrived.
#include <functional>
#include <vector>

#include "bench/subject.h"
#include "engine/engine.h"

namespace iol::bench {

/// Closed loop: `load.concurrency` requests are under way until none is left to send; the end of
/// one sends the next, from the engine's own thread and without waking another one. Greedy, exactly
/// the asked number of tokens, no end-of-sequence. A request whose `output_limit` is higher is
/// submitted with that limit and cancelled at its last token, so that the engine can't know its
/// length in advance. Times are read when the engine hands over a
/// token, which is what a client in the same process sees.
///
/// `on_completed` is called with the number of ended requests from the engine's thread; it must not
/// block. Returns when all requests have ended; a refused or failed request carries its error.
RunResult run_closed_loop(Engine& engine, const Load& load,
                          const std::function<void(std::int64_t)>& on_completed);

}  // namespace iol::bench
