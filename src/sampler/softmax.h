#pragma once
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

namespace iol {

/// e^x for x <= 0, within 2 units in the last place; 0 below -87. Free of branches and library
/// calls, so that loops over it vectorize, and equal on every machine.
inline float exp_nonpositive(float x) {
  constexpr float kLowest = -87.0F;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const float clamped = x > kLowest ? x : kLowest;
  const float shifted = clamped * 1.44269504F + kRound;
  const float n = shifted - kRound;
  // ln 2 in two parts (Cody and Waite), so that n * ln 2 keeps its low bits.
  const float r = (clamped - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;  // minimax polynomial of Cephes' expf
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  const auto exponent = std::bit_cast<std::uint32_t>(shifted) << 23;
  const float value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(p) + exponent);
  return x > kLowest ? value : 0.0F;
}

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
