#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace iol {
namespace {

int original_positions(const ModelConfig& config) {
  const int original = config.rope.original_max_position_embeddings;
  return original > 0 ? original : config.max_position_embeddings;
}

/// Llama 3's form: long wavelengths are stretched by the factor, short ones kept, those between
/// blended.
float llama3_frequency(const RopeConfig& rope, int original, float frequency) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < original / rope.high_freq_factor) return frequency;
  if (wavelength > original / rope.low_freq_factor)
    return static_cast<float>(frequency / rope.factor);
  const double smooth = (original / wavelength - rope.low_freq_factor) /
                        (rope.high_freq_factor - rope.low_freq_factor);
  return static_cast<float>((1 - smooth) * frequency / rope.factor + smooth * frequency);
}

/// YaRN (Peng et al. 2023): the dimensions between `low` and `high` go from kept to stretched.
struct YarnRamp {
  double low;
  double high;

  YarnRamp(const ModelConfig& config, int original) {
    const auto& rope = config.rope;
    const auto correction = [&](double rotations) {
      return config.head_dim * std::log(original / (rotations * 2 * std::numbers::pi)) /
             (2 * std::log(rope.theta));
    };
    low = correction(rope.beta_fast);
    high = correction(rope.beta_slow);
    if (rope.truncate) {
      low = std::floor(low);
      high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, config.head_dim - 1.0);
    if (low == high) high += 0.001;
  }
  [[nodiscard]] double stretched(int i) const {
    return std::clamp((i - low) / (high - low), 0.0, 1.0);
  }
};

}  // namespace

std::vector<float> rope_inv_freq(const ModelConfig& config) {
  const auto& rope = config.rope;
  const int original = original_positions(config);
  std::vector<float> frequencies;
  for (int i = 0; i < config.head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    float frequency = 1.0F / static_cast<float>(std::pow(rope.theta, exponent));
    switch (rope.type) {
      case RopeConfig::Type::kDefault:
      case RopeConfig::Type::kDynamic:
        break;
      case RopeConfig::Type::kLinear:
        frequency = static_cast<float>(frequency / rope.factor);
        break;
      case RopeConfig::Type::kLlama3:
        frequency = llama3_frequency(rope, original, frequency);
        break;
      case RopeConfig::Type::kYarn: {
        const double stretched = YarnRamp(config, original).stretched(i);
        frequency =
            static_cast<float>(frequency / rope.factor * stretched + frequency * (1 - stretched));
        break;
      }
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
}

float rope_attention_factor(const ModelConfig& config) {
  const auto& rope = config.rope;
  if (rope.type != RopeConfig::Type::kYarn) return 1.0F;
  if (rope.attention_factor) return static_cast<float>(*rope.attention_factor);
  return rope.factor <= 1 ? 1.0F : static_cast<float>(0.1 * std::log(rope.factor) + 1.0);
}

}  // namespace iol
