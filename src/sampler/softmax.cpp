#include "sampler/softmax.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"

namespace iol {
namespace {

// Inner loops have this constant length, which the compiler turns into vector instructions.
constexpr std::size_t kLanes = 16;

// Four at a time, as every 64-bit processor can; the compiler's own vector types (GCC, Clang),
// because it does not see through the bit operations of exp by itself.
constexpr std::size_t kVector = 4;
using Floats = float __attribute__((vector_size(kVector * sizeof(float))));
using HalfDoubles = double __attribute__((vector_size(kVector / 2 * sizeof(double))));
using Bits = std::uint32_t __attribute__((vector_size(kVector * sizeof(std::uint32_t))));

[[gnu::always_inline]] inline Floats exp_nonpositive(Floats x) {
  constexpr float kLowest = -87.0F;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const auto in_range = std::bit_cast<Bits>(x > kLowest);
  // Out of range, a zero stands in for x, and its result is masked out.
  const auto clamped = std::bit_cast<Floats>(std::bit_cast<Bits>(x) & in_range);
  const Floats shifted = clamped * 1.44269504F + kRound;
  const Floats n = shifted - kRound;
  // ln 2 in two parts (Cody and Waite), so that n * ln 2 keeps its low bits.
  const Floats r = (clamped - n * 0.693359375F) + n * 2.12194440e-4F;
  Floats p = r * 1.9875691500e-4F + 1.3981999507e-3F;  // minimax polynomial of Cephes' expf
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  const Bits exponent = std::bit_cast<Bits>(shifted) << 23;
  return std::bit_cast<Floats>((std::bit_cast<Bits>(p) + exponent) & in_range);
}

/// weights = exp((logits - max) * scale); returns their sum, accumulated in four interleaved parts.
double exp_block(std::span<const float> logits, float max, float scale, float* weights) {
  HalfDoubles low_sums{};
  HalfDoubles high_sums{};
  std::size_t i = 0;
  for (; i + kVector <= logits.size(); i += kVector) {
    Floats x;
    std::memcpy(&x, logits.data() + i, sizeof(x));
    x = exp_nonpositive((x - max) * scale);
    std::memcpy(weights + i, &x, sizeof(x));
    low_sums += __builtin_convertvector(__builtin_shufflevector(x, x, 0, 1), HalfDoubles);
    high_sums += __builtin_convertvector(__builtin_shufflevector(x, x, 2, 3), HalfDoubles);
  }
  double sum = (low_sums[0] + low_sums[1]) + (high_sums[0] + high_sums[1]);
  for (; i < logits.size(); ++i) {
    weights[i] = iol::exp_nonpositive((logits[i] - max) * scale);
    sum += double{weights[i]};
  }
  return sum;
}

}  // namespace

float exp_nonpositive(float x) { return exp_nonpositive(Floats{x, x, x, x})[0]; }

void throw_bad_logits() {
  throw Error(
      "the model's logits hold NaN or no finite value; check the checkpoint, or try another dtype");
}

float max_logit(std::span<const float> logits) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  std::array<float, kLanes> largest;
  largest.fill(kLowest);
  std::array<std::uint32_t, kLanes> is_nan{};
  std::size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float value = logits[i + lane];
      largest[lane] = value > largest[lane] ? value : largest[lane];
      is_nan[lane] |= value != value ? 1U : 0U;
    }
  }
  float max = kLowest;
  std::uint32_t any_nan = 0;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    max = std::max(max, largest[lane]);
    any_nan |= is_nan[lane];
  }
  for (; i < logits.size(); ++i) {
    max = std::max(max, logits[i]);
    any_nan |= std::isnan(logits[i]) ? 1U : 0U;
  }
  if (any_nan != 0 || !std::isfinite(max)) throw_bad_logits();
  return max;
}

void SoftmaxWeights::compute(std::span<const float> logits, float max, float temperature) {
  weights_.resize(logits.size());
  block_sums_.clear();
  total_ = 0;
  const float scale = 1.0F / temperature;
  for (std::size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const std::size_t count = std::min(kBlock, logits.size() - begin);
    block_sums_.push_back(
        exp_block(logits.subspan(begin, count), max, scale, weights_.data() + begin));
    total_ += block_sums_.back();
  }
}

std::int32_t SoftmaxWeights::draw(double uniform) const {
  const double target = uniform * total_;
  double sum = 0;
  std::size_t last = 0;  // a token that can be drawn, should rounding lead past the end
  for (std::size_t block = 0; block < block_sums_.size(); ++block) {
    if (sum + block_sums_[block] <= target) {
      sum += block_sums_[block];
      continue;
    }
    const std::size_t end = std::min((block + 1) * kBlock, weights_.size());
    for (std::size_t i = block * kBlock; i < end; ++i) {
      if (weights_[i] > 0) last = i;
      sum += double{weights_[i]};
      if (sum > target) return static_cast<std::int32_t>(i);
    }
    return static_cast<std::int32_t>(last);
  }
  for (std::size_t i = weights_.size(); i-- > 0;) {
    if (weights_[i] > 0) return static_cast<std::int32_t>(i);
  }
  return static_cast<std::int32_t>(last);
}

}  // namespace iol
