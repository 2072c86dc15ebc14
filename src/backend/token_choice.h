#pragma once
#include <cstdint>

namespace iol {

/// How a device chooses the token of a row of logits: the fields of SamplingParams that matter
/// there. Below a temperature of 1e-5: the largest logit, the lowest index among equals.
struct TokenChoice {
  double temperature = 0.0;
  double top_p = 1.0;
  double min_p = 0.0;
  double uniform = 0.0;  // the random number of this token, in [0, 1)
  int top_k = 0;         // 0: all
};

/// In place of a token: the row's logits hold NaN or no finite value.
inline constexpr std::int32_t kNoToken = -1;

}  // namespace iol
