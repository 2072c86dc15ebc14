#pragma once
// A stream's logits must not depend on what is computed beside it, nor on how it is cut into steps.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "tests/backend/device_model.h"

namespace iol::test {

/// How a stream is advanced: by up to `most_tokens` a step, beside up to `num_others` others.
struct RandomSchedule {
  std::uint64_t seed = 0;
  int most_tokens = 1;
  int num_others = 0;
};

/// Advances `tokens` on the device as the schedule says; expects the bits of `whole`, [tokens,
/// vocabulary], which a step of them all, alone, has given.
inline void expect_same_bits(DeviceModel& device, const std::vector<std::int32_t>& tokens,
                             const std::vector<std::vector<float>>& whole,
                             const RandomSchedule& schedule) {
  constexpr int kOtherTokens = 100;
  constexpr int kMostOtherTokens = 9;  // a step
  RandomStream random(schedule.seed);
  const auto up_to = [&](int most) {
    return 1 + static_cast<int>(random.below(static_cast<std::uint64_t>(most)));
  };
  const int num_tokens = static_cast<int>(tokens.size());
  const int vocab_size = static_cast<int>(whole.front().size());
  auto stream = device.open(tokens);
  std::vector<DeviceModel::Stream> others;
  for (int i = 0; i < schedule.num_others; ++i)
    others.push_back(device.open(random_tokens(kOtherTokens, vocab_size, 50 + i)));
  while (stream.num_done < num_tokens) {
    const int begin = stream.num_done;
    const int count = std::min(num_tokens - begin, up_to(schedule.most_tokens));
    std::vector<std::pair<DeviceModel::Stream*, int>> parts;
    std::size_t before = 0;  // tokens of the streams in front of ours
    for (auto& other : others) {
      const int rest = kOtherTokens - other.num_done;
      if (rest == 0 || random.below(2) != 0) continue;
      parts.emplace_back(&other, up_to(std::min(rest, kMostOtherTokens)));
      before += static_cast<std::size_t>(parts.back().second);
    }
    parts.emplace_back(&stream, count);
    const auto got = device.step(parts);
    for (int i = 0; i < count; ++i) {
      const auto& expected = whole[static_cast<std::size_t>(begin + i)];
      const auto& actual = got[before + static_cast<std::size_t>(i)];
      ASSERT_EQ(std::memcmp(expected.data(), actual.data(), expected.size() * sizeof(float)), 0)
          << "token " << begin + i << ", schedule " << schedule.seed;
    }
  }
}

}  // namespace iol::test
