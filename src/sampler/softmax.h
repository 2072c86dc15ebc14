#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace iol {

/// e^x for x <= 0, within 2 units in the last place; 0 below -87. Plain multiplications and
/// additions, so equal on every machine.
float exp_nonpositive(float x);

/// Throws the Error of logits with NaN or without a finite value.
[[noreturn]] void throw_bad_logits();

/// The largest logit. Throws Error when one is NaN or none is finite.
float max_logit(std::span<const float> logits);

/// Unnormalized probabilities, 1 for the most likely, with their sums block by block: a draw walks
/// the sums first.
class SoftmaxWeights {
 public:
  static constexpr std::size_t kBlock = 512;

  /// weights[i] = exp((logits[i] - max) / temperature)
  void compute(std::span<const float> logits, float max, float temperature);
  [[nodiscard]] std::span<const float> weights() const { return weights_; }
  [[nodiscard]] double total() const { return total_; }
  /// The first index whose cumulative weight exceeds uniform * total; uniform in [0, 1).
  [[nodiscard]] std::int32_t draw(double uniform) const;

 private:
  std::vector<float> weights_;
  std::vector<double> block_sums_;
  double total_ = 0;
};

}  // namespace iol
