#pragma once
// Attention over a cache of codes in double precision, and how far rounding may move a result.
#include <cmath>
#include <span>
#include <vector>

#include "bench/kernels/attention_case.h"

namespace iol::cuda {

/// A row's results and how far each may be off.
struct AttentionReference {
  std::vector<double> out;   // [D]
  std::vector<double> most;  // [D]
};

/// A query rotated by its position.
inline std::vector<double> rotated_query(const AttentionCase& attention, int token, int head,
                                         int position) {
  const AttentionShape& shape = attention.shape();
  const auto dim = static_cast<std::size_t>(shape.head_dim);
  const float* x =
      attention.host_qkv().data() +
      static_cast<std::size_t>(token) * static_cast<std::size_t>(attention.qkv_columns()) +
      static_cast<std::size_t>(head) * dim;
  std::vector<double> y(dim);
  for (std::size_t i = 0; i < dim / 2; ++i) {
    const double angle = position * std::pow(1e4, -2.0 * static_cast<double>(i) / shape.head_dim);
    const double low = double{x[i]};
    const double high = double{x[i + dim / 2]};
    y[i] = low * std::cos(angle) - high * std::sin(angle);
    y[i + dim / 2] = high * std::cos(angle) + low * std::sin(angle);
  }
  return y;
}

/// What rounding explains, u = 2^-24 being that of f32:
///   scores   of a query's element 2^-11 of it or 2^-39 of the row's largest
///   (attention_numbers.cuh),
///            4 u more in its rotation, and D u of all magnitudes in the sum (tensor cores cut off
///            what they add: 2 u for each)
///   weights  the error of their scores, 8 u in the exponential and its argument, and rounding as
///            that of queries
///   results  256 x 2 u in sums, and 2^-8 of them (bf16)
/// `layer`: the cache behind the step.
inline AttentionReference attention_reference(const AttentionCase& attention,
                                              std::span<const std::byte> layer,
                                              std::size_t sequence, int token, int head) {
  const AttentionShape& shape = attention.shape();
  const auto dim = static_cast<std::size_t>(shape.head_dim);
  const AttentionSequence& of = shape.sequences[sequence];
  int first_token = 0;
  for (std::size_t i = 0; i < sequence; ++i) first_token += shape.sequences[i].num_tokens;
  const int last = of.first_position + token;
  const int first = shape.window > 0 ? std::max(last - shape.window + 1, 0) : 0;
  const int kv_head = head / (shape.num_heads / shape.num_kv_heads);
  const double u = 0x1p-24;
  const std::vector<double> query = rotated_query(attention, first_token + token, head, last);
  double largest = 0;
  for (const double x : query) largest = std::max(largest, std::abs(x));

  std::vector<double> scores, errors;
  std::vector<AttentionCase::Coded> values;
  double most = -INFINITY;
  for (int position = first; position <= last; ++position) {
    const auto key = attention.coded(layer, sequence, kv_head, position, false);
    double sum = 0;
    double error = 0;
    for (std::size_t d = 0; d < dim; ++d) {
      const double size = std::abs(query[d] * key.codes[d]);
      sum += query[d] * key.codes[d];
      error += std::abs(key.codes[d]) * std::max(0x1p-11 * std::abs(query[d]), 0x1p-39 * largest) +
               (4 + 2 * shape.head_dim) * u * size;
    }
    const double scale = key.scale / std::sqrt(double{1.0 * shape.head_dim});
    scores.push_back(sum * scale);
    errors.push_back(error * scale);
    most = std::max(most, sum * scale);
    values.push_back(attention.coded(layer, sequence, kv_head, position, true));
  }
  double total = 0;
  double largest_weight = 0;
  std::vector<double> weights;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    weights.push_back(std::exp(scores[i] - most));
    total += weights[i];
    largest_weight = std::max(largest_weight, weights[i] * values[i].scale);
  }
  AttentionReference reference = {std::vector<double>(dim), std::vector<double>(dim)};
  for (std::size_t d = 0; d < dim; ++d) {
    double& out = reference.out[d];
    double& bound = reference.most[d];
    for (std::size_t i = 0; i < weights.size(); ++i)
      out += weights[i] / total * values[i].scale * values[i].codes[d];
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const double weight = weights[i] / total;
      const double size = std::abs(values[i].scale * values[i].codes[d]);
      // A weight's error is shared by the sum of weights.
      const double moved = std::expm1(errors[i] + 8 * u * (1 + std::abs(scores[i] - most)));
      bound += weight * moved * (size + std::abs(out));
      bound += weight * size * (0x1p-11 + 512 * u);
      bound += 0x1p-39 * largest_weight / total * std::abs(values[i].codes[d]);
    }
    bound += 0x1.01p-8 * std::abs(out) + 0x1p-126;
  }
  return reference;
}

}  // namespace iol::cuda
