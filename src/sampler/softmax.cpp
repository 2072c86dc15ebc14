#include "sampler/softmax.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace iol {
namespace {

// Inner loops have this constant length, which the compiler turns into vector instructions.
constexpr std::size_t kLanes = 16;

double sum_of(std::span<const float> values) {
  std::array<double, kLanes> sums{};
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) sums[lane] += double{values[i + lane]};
  }
  double sum = 0;
  for (const double lane_sum : sums) sum += lane_sum;
  for (; i < values.size(); ++i) sum += double{values[i]};
  return sum;
}

}  // namespace

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
  if (any_nan != 0 || !std::isfinite(max)) {
    throw Error(
        "the model's logits hold NaN or no finite value; check the checkpoint, or try another "
        "dtype");
  }
  return max;
}

void SoftmaxWeights::compute(std::span<const float> logits, float max, float temperature) {
  weights_.resize(logits.size());
  block_sums_.clear();
  total_ = 0;
  for (std::size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const std::size_t count = std::min(kBlock, logits.size() - begin);
    const float* in = logits.data() + begin;
    float* out = weights_.data() + begin;
    std::size_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        out[i + lane] = exp_nonpositive((in[i + lane] - max) / temperature);
      }
    }
    for (; i < count; ++i) out[i] = exp_nonpositive((in[i] - max) / temperature);
    block_sums_.push_back(sum_of({out, count}));
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
