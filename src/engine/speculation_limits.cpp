#include "engine/speculation_limits.h"

#include <algorithm>

#include "speculative/depth_policy.h"

namespace iol {
namespace {

constexpr int kChosenDraftsPerSequence = 4;

}  // namespace

int most_step_drafts(const EngineConfig& config) {
  if (!config.speculation.enabled()) return 0;
  const int num_drafts =
      config.speculation.depth
          ? config.max_batch * *config.speculation.depth
          : std::max(kMaxDraftDepth, kChosenDraftsPerSequence * config.max_batch);
  return std::min(num_drafts, config.max_step_tokens);
}

int most_logit_rows(const EngineConfig& config) {
  return std::min(config.max_batch + most_step_drafts(config), config.max_step_tokens);
}

}  // namespace iol
