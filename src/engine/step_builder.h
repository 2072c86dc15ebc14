#pragma once
#include <vector>

#include "backend/backend.h"
#include "request/batch.h"

namespace iol {

/// Turns the scheduler's batch into the backend's flat arrays. Storage is reused from step to step.
class StepBuilder {
 public:
  /// The result is valid until the next call, and as long as the batch's block tables don't change.
  const StepInput& build(const Batch& batch);

 private:
  std::vector<std::int32_t> token_ids_;
  std::vector<std::int32_t> positions_;
  std::vector<SequenceSlice> slices_;
  std::vector<std::int32_t> logit_tokens_;
  std::vector<TokenChoice> choices_;
  StepInput input_;
};

}  // namespace iol
