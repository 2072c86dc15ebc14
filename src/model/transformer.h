#pragma once
#include "backend/backend.h"
#include "model/config.h"
#include "model/weights.h"

namespace iol {

/// The forward pass of a decoder-only transformer over one step's tokens: fills the logits of
/// input.logit_tokens in `activations` and appends every token's keys and values to `cache`. The
/// step is over when Backend::finish_step() says so.
void begin_forward(const ModelConfig& config, const ModelWeights& weights, Backend& backend,
                   Activations& activations, KvCache& cache, const StepInput& input);

/// begin_forward(), and waits.
void forward(const ModelConfig& config, const ModelWeights& weights, Backend& backend,
             Activations& activations, KvCache& cache, const StepInput& input);

/// Makes the first steps within `limits` as fast as later ones: see Backend::prepare_steps. Those
/// of sequences of more than 512 positions are met in the course of time.
void prepare_forward(const ModelConfig& config, const ModelWeights& weights, Backend& backend,
                     Activations& activations, KvCache& cache, StepLimits limits);

}  // namespace iol
