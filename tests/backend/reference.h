#pragma once
// A transformer layer by layer in double precision with plain loops: what every kernel is held
// against. Weights are random, already rounded to the storage dtype, so that only the arithmetic
// differs.
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "backend/backend.h"
#include "base/random.h"

namespace iol::test {

using Matrix = std::vector<std::vector<double>>;  // [rows][columns]

/// A matrix kept as f32 for the backend and as double for the reference.
struct TestTensor {
  std::vector<float> values;
  std::vector<std::int64_t> shape;

  [[nodiscard]] HostTensor host() const {
    return {reinterpret_cast<const std::byte*>(values.data()), DType::kF32, shape};
  }
  [[nodiscard]] double at(std::int64_t row, std::int64_t column) const {
    return values[static_cast<std::size_t>(row * shape[1] + column)];
  }
  [[nodiscard]] double at(std::int64_t i) const { return values[static_cast<std::size_t>(i)]; }
};

inline float round_to(DType dtype, float value) {
  if (dtype == DType::kBF16) return bf16_to_f32(f32_to_bf16(value));
  if (dtype == DType::kF16) return f16_to_f32(f32_to_f16(value));
  return value;
}

inline TestTensor random_tensor(std::vector<std::int64_t> shape, double scale, double offset,
                                DType dtype, RandomStream& random) {
  TestTensor tensor;
  std::int64_t count = 1;
  for (const auto extent : shape) count *= extent;
  tensor.shape = std::move(shape);
  for (std::int64_t i = 0; i < count; ++i) {
    tensor.values.push_back(
        round_to(dtype, static_cast<float>(offset + scale * (2 * random.uniform() - 1))));
  }
  return tensor;
}

struct TestLayer {
  TestTensor input_norm, q, k, v, q_bias, k_bias, v_bias, q_norm, k_norm, o, o_bias, post_norm,
      gate, up, gate_bias, up_bias, down, down_bias;
};

struct TestModel {
  TransformerShape shape;
  bool biases = false;
  bool qk_norm = false;
  std::optional<int> window;
  TestTensor embedding, final_norm, head;
  std::vector<TestLayer> layers;
};

inline TestModel random_model(const TransformerShape& shape, bool biases, bool qk_norm,
                              std::optional<int> window, DType dtype, std::uint64_t seed) {
  RandomStream random(seed);
  TestModel model{shape, biases, qk_norm, window, {}, {}, {}, {}};
  const std::int64_t hidden = shape.hidden_size;
  const std::int64_t inner = shape.intermediate_size;
  const std::int64_t q_rows = std::int64_t{shape.num_heads} * shape.head_dim;
  const std::int64_t kv_rows = std::int64_t{shape.num_kv_heads} * shape.head_dim;
  const auto matrix = [&](std::int64_t rows, std::int64_t columns) {
    return random_tensor({rows, columns}, 2.0 / std::sqrt(static_cast<double>(columns)), 0, dtype,
                         random);
  };
  const auto vector = [&](std::int64_t size, double scale, double offset) {
    return random_tensor({size}, scale, offset, DType::kF32, random);
  };
  model.embedding = random_tensor({shape.vocab_size, hidden}, 1.0, 0, dtype, random);
  model.head = matrix(shape.vocab_size, hidden);
  model.final_norm = vector(hidden, 0.3, 1);
  for (int i = 0; i < shape.num_layers; ++i) {
    TestLayer layer;
    layer.input_norm = vector(hidden, 0.3, 1);
    layer.post_norm = vector(hidden, 0.3, 1);
    layer.q = matrix(q_rows, hidden);
    layer.k = matrix(kv_rows, hidden);
    layer.v = matrix(kv_rows, hidden);
    layer.o = matrix(hidden, q_rows);
    layer.gate = matrix(inner, hidden);
    layer.up = matrix(inner, hidden);
    layer.down = matrix(hidden, inner);
    layer.q_bias = vector(q_rows, 0.5, 0);
    layer.k_bias = vector(kv_rows, 0.5, 0);
    layer.v_bias = vector(kv_rows, 0.5, 0);
    layer.o_bias = vector(hidden, 0.5, 0);
    layer.gate_bias = vector(inner, 0.5, 0);
    layer.up_bias = vector(inner, 0.5, 0);
    layer.down_bias = vector(hidden, 0.5, 0);
    layer.q_norm = vector(shape.head_dim, 0.3, 1);
    layer.k_norm = vector(shape.head_dim, 0.3, 1);
    model.layers.push_back(std::move(layer));
  }
  return model;
}

inline std::vector<double> reference_norm(const std::vector<double>& x, const TestTensor& weight,
                                          double eps) {
  double sum = 0;
  for (const double value : x) sum += value * value;
  const double scale = 1.0 / std::sqrt(sum / static_cast<double>(x.size()) + eps);
  std::vector<double> out(x.size());
  for (std::size_t i = 0; i < x.size(); ++i)
    out[i] = x[i] * scale * weight.at(static_cast<std::int64_t>(i));
  return out;
}

inline std::vector<double> reference_linear(const std::vector<double>& x, const TestTensor& weight,
                                            const TestTensor* bias) {
  std::vector<double> out(static_cast<std::size_t>(weight.shape[0]));
  for (std::int64_t n = 0; n < weight.shape[0]; ++n) {
    double sum = bias != nullptr ? bias->at(n) : 0;
    for (std::int64_t k = 0; k < weight.shape[1]; ++k)
      sum += x[static_cast<std::size_t>(k)] * weight.at(n, k);
    out[static_cast<std::size_t>(n)] = sum;
  }
  return out;
}

/// Splits into heads, applies the optional norm and rotates by the position.
inline Matrix reference_heads(const TestModel& model, const std::vector<double>& row, int num_heads,
                              const TestTensor* norm, int position, bool rotate) {
  const int dim = model.shape.head_dim;
  Matrix heads;
  for (int head = 0; head < num_heads; ++head) {
    std::vector<double> x(row.begin() + head * dim, row.begin() + (head + 1) * dim);
    if (norm != nullptr) x = reference_norm(x, *norm, model.shape.rms_norm_eps);
    if (rotate) {
      std::vector<double> y = x;
      for (int i = 0; i < dim / 2; ++i) {
        const auto low = static_cast<std::size_t>(i);
        const auto high = static_cast<std::size_t>(i + dim / 2);
        const double angle = double{model.shape.rope_inv_freq[low]} * position;
        y[low] = x[low] * std::cos(angle) - x[high] * std::sin(angle);
        y[high] = x[high] * std::cos(angle) + x[low] * std::sin(angle);
      }
      x = y;
    }
    heads.push_back(std::move(x));
  }
  return heads;
}

/// Logits [T][V] of all tokens of one sequence.
inline Matrix reference_logits(const TestModel& model, const std::vector<std::int32_t>& tokens) {
  const auto& shape = model.shape;
  const double eps = shape.rms_norm_eps;
  Matrix hidden;
  for (const auto token : tokens) {
    std::vector<double> row;
    for (std::int64_t i = 0; i < shape.hidden_size; ++i)
      row.push_back(model.embedding.at(token, i));
    hidden.push_back(std::move(row));
  }
  const int group = shape.num_heads / shape.num_kv_heads;
  for (const auto& layer : model.layers) {
    const auto bias = [&](const TestTensor& tensor) { return model.biases ? &tensor : nullptr; };
    std::vector<Matrix> keys, values;
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      const auto position = static_cast<int>(t);
      const auto x = reference_norm(hidden[t], layer.input_norm, eps);
      const auto q =
          reference_heads(model, reference_linear(x, layer.q, bias(layer.q_bias)), shape.num_heads,
                          model.qk_norm ? &layer.q_norm : nullptr, position, true);
      keys.push_back(reference_heads(model, reference_linear(x, layer.k, bias(layer.k_bias)),
                                     shape.num_kv_heads, model.qk_norm ? &layer.k_norm : nullptr,
                                     position, true));
      values.push_back(reference_heads(model, reference_linear(x, layer.v, bias(layer.v_bias)),
                                       shape.num_kv_heads, nullptr, position, false));
      std::vector<double> attended;
      const int first = model.window ? std::max(0, position + 1 - *model.window) : 0;
      for (int head = 0; head < shape.num_heads; ++head) {
        const auto kv = static_cast<std::size_t>(head / group);
        std::vector<double> weight;
        double most = -INFINITY;
        for (int p = first; p <= position; ++p) {
          double score = 0;
          for (int d = 0; d < shape.head_dim; ++d) {
            const auto i = static_cast<std::size_t>(d);
            score +=
                q[static_cast<std::size_t>(head)][i] * keys[static_cast<std::size_t>(p)][kv][i];
          }
          weight.push_back(score / std::sqrt(double(shape.head_dim)));
          most = std::max(most, weight.back());
        }
        double total = 0;
        for (auto& w : weight) total += (w = std::exp(w - most));
        for (std::size_t d = 0; d < static_cast<std::size_t>(shape.head_dim); ++d) {
          double sum = 0;
          for (int p = first; p <= position; ++p) {
            sum += weight[static_cast<std::size_t>(p - first)] / total *
                   values[static_cast<std::size_t>(p)][kv][d];
          }
          attended.push_back(sum);
        }
      }
      const auto projected = reference_linear(attended, layer.o, bias(layer.o_bias));
      for (std::size_t i = 0; i < projected.size(); ++i) hidden[t][i] += projected[i];
      const auto y = reference_norm(hidden[t], layer.post_norm, eps);
      auto gate = reference_linear(y, layer.gate, bias(layer.gate_bias));
      const auto up = reference_linear(y, layer.up, bias(layer.up_bias));
      for (std::size_t i = 0; i < gate.size(); ++i)
        gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
      const auto down = reference_linear(gate, layer.down, bias(layer.down_bias));
      for (std::size_t i = 0; i < down.size(); ++i) hidden[t][i] += down[i];
    }
  }
  Matrix logits;
  for (const auto& row : hidden) {
    logits.push_back(
        reference_linear(reference_norm(row, model.final_norm, eps), model.head, nullptr));
  }
  return logits;
}

}  // namespace iol::test
