#pragma once
// The tokens of a step, chosen on the device.
#include "backend/cuda/kernels/kernels.h"
#include "backend/token_choice.h"

namespace iol::cuda {

struct SampleTask {
  float* logits = nullptr;               // [L, V]; rows that are drawn from become weights
  const TokenChoice* choices = nullptr;  // [L]
  int num_rows = 0;
  int vocab_size = 0;
  unsigned long long* best = nullptr;  // [L] in: see best_key(); out: the chosen token likewise
};

/// Chooses as the host's sampler does (sampler/sampler.h, steps 6 to 10): the same weights to the
/// last bit, the same uniform number. Without truncation sums have the host's order too, and the
/// token is the same; with it, sums differ by rounding, and so may a token at the very border.
/// A row with NaN or without a finite number gets kNoToken.
void sample(const SampleTask& task, StreamHandle stream);

}  // namespace iol::cuda
