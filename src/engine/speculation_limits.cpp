#include "engine/speculation_limits.h"

#include <algorithm>

#include "base/error.h"
#include "speculative/depth_policy.h"

namespace iol {
namespace {

constexpr int kChosenDraftsPerSequence = 4;

[[noreturn]] void refuse(const SpeculationConfig& config) {
  throw_input_error(
      "--draft {}: speculation is not on CUDA yet; use --device cpu, or leave --draft out",
      draft_text(config));
}

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

void refuse_speculation_on(const Device& device, const SpeculationConfig& config) {
  if (config.enabled() && device.kind == DeviceKind::kCuda) refuse(config);
}

void refuse_speculation_beside(const Backend& backend, const SpeculationConfig& config) {
  if (config.enabled() && backend.runs_ahead()) refuse(config);
}

}  // namespace iol
