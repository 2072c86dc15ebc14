#pragma once
// Scales and ranges for int4 weights, chosen by what they do to a matrix's output.
// Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration",
// 2023.
#include <vector>

#include "quantization/scale_search.h"
#include "quantization/scaled_weights.h"

namespace iol {

/// s_j = mean|x_j|^a, centered, for every a > 0 of the grid; the columns that one producer row
/// feeds share the mean of their means. Means are floored at 1e-4 of the largest. "No scaling"
/// (a = 0) comes first.
std::vector<Candidate> awq_candidates(const ScalingSite& site, const InputStatistics& inputs);

/// For every row and group the clip ratio with the least output error of the group alone,
/// sum over the sampled tokens of ((x / s) (w s - Q(clip(w s))))^2 = d^T G d, where G is the
/// group's [group, group] matrix of second moments of x / s. The widest range among equals.
ClipRatios search_clips(const SiteWeights& weights, const InputStatistics& inputs,
                        const std::vector<float>& columns, std::int64_t group_size,
                        ThreadPool& threads);

}  // namespace iol
