#pragma once
// Scales that move the outliers of activations into weights, for int8 weights and activations.
#include <vector>

#include "quantization/scale_search.h"

namespace iol {

/// s_j = max|x_j|^a / max|w_j|^(1 - a), centered, for every a of the grid; the columns that one
/// producer row feeds share the largest of their maxima. Maxima are floored at 1e-5 of the largest.
/// "No scaling" comes first. Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training
/// Quantization for Large Language Models", 2022, equation 4; the strength a is searched here,
/// where the paper takes one for a model.
std::vector<Candidate> smoothquant_candidates(const ScalingSite& site,
                                              const InputStatistics& inputs,
                                              const std::vector<float>& weight_max_abs);

}  // namespace iol
