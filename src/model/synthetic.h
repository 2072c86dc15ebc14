#pragma once
// Published shapes with random weights: for measuring speed and memory where the checkpoint can't
// be had.
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "model/config.h"
#include "model/weight_source.h"

namespace iol {

/// The configuration behind `synthetic:NAME`; `name` without the prefix. Throws InputError listing
/// the known names.
ModelConfig synthetic_config(std::string_view name);

/// bf16 weights, uniform with the variance that keeps activations of unit size; norm weights are 1,
/// biases 0. The same for the same seed, on any machine.
std::unique_ptr<WeightSource> make_synthetic_weights(const ModelConfig& config, std::uint64_t seed);

}  // namespace iol
