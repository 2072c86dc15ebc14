#pragma once
// What the matrices of a model are multiplied with, gathered by running it over a text.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "model/config.h"
#include "model/weight_source.h"

namespace iol {

/// Of one input x [K] over T tokens.
struct InputStatistics {
  std::vector<float> max_abs;   // [K] max over tokens of |x|
  std::vector<float> mean_abs;  // [K] mean over tokens of |x|
  std::vector<float> rows;      // [num_rows, K] x of some tokens, the same tokens for every input
};

struct StatisticsOptions {
  int num_rows = 512;       // tokens whose inputs are kept
  int window_tokens = 512;  // the text is cut into sequences of this length
  std::uint64_t seed = 0;   // picks the rows
};

/// (tokens done, tokens in all)
using StatisticsProgress = std::function<void(std::int64_t, std::int64_t)>;

/// Runs the unquantized model over `tokens` and returns the statistics of each of
/// scaling_sites(config), in their order. Tokens for the rows are drawn without replacement.
/// Throws InputError when there are fewer tokens than rows, when an id is not in the vocabulary,
/// and when an input is NaN or infinite.
std::vector<InputStatistics> gather_statistics(const ModelConfig& config, WeightSource& source,
                                               Backend& backend,
                                               std::span<const std::int32_t> tokens,
                                               const StatisticsOptions& options,
                                               const StatisticsProgress& progress = {});

/// `count` distinct numbers of [0, bound), ascending.
std::vector<std::int64_t> draw_rows(std::int64_t bound, std::int64_t count, std::uint64_t seed);

}  // namespace iol
