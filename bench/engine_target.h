#pragma once
#include "bench/load_target.h"
#include "engine/engine.h"

namespace iol::bench {

/// An engine in this process. Greedy, exactly the asked number of tokens, no end-of-sequence. A
/// request whose `output_limit` is higher is submitted with that limit and cancelled at its last
/// token, so that the engine can't know its length in advance. Times are read when the engine hands
/// over a token, which is what a client in the same process sees.
///
/// The engine may still call for a cancelled request after its `on_end`: drain() the engine before
/// results go away.
class EngineTarget : public LoadTarget {
 public:
  explicit EngineTarget(Engine& engine) : engine_(engine) {}
  std::optional<std::string> send(const WorkloadRequest& request, RequestResult& result,
                                  std::function<void()> on_end) override;

 private:
  Engine& engine_;
};

}  // namespace iol::bench
