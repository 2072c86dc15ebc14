// Logits that aren't numbers give no token, on every backend and in steps of every size: neither
// hidden behind larger numbers nor chosen themselves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/kernels_of.h"
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/cuda_device.h"
#include "backend/token_choice.h"
#include "tests/backend/device_model.h"

namespace iol::test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::unique_ptr<Backend> make_backend(const std::string& name) {
  if (name == "cuda") return make_cuda_backend({0, 2, DType::kBF16});
  return make_cpu_backend({best_isa(), 2, DType::kBF16});
}

class BadLogitsTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "cuda" && cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
  /// What the largest logit of each of `count` tokens in one step is, or a token drawn.
  std::vector<std::int32_t> chosen(const TestModel& model, int count, double temperature) {
    DeviceModel device(model, make_backend(GetParam()), DeviceFormats{});
    auto stream = device.open(random_tokens(count, model.shape.vocab_size, 5));
    TokenChoice choice;
    choice.temperature = temperature;
    return device.choose(stream, std::vector(static_cast<std::size_t>(count), choice));
  }
};

TEST_P(BadLogitsTest, one_nan_among_the_logits_gives_no_token) {
  TestModel model = random_model(small_shape(), false, false, {}, DType::kBF16, 1);
  const std::int64_t hidden = model.shape.hidden_size;
  const int vocab = model.shape.vocab_size;
  for (const int column : {0, vocab / 2, vocab - 1}) {
    const auto at = static_cast<std::size_t>(column * hidden + 3);
    const float good = std::exchange(model.head.values[at], kNan);
    for (const int count : {1, 3, 20, 70, 200}) {
      EXPECT_THAT(chosen(model, count, 0), testing::Each(kNoToken)) << column << ", " << count;
    }
    model.head.values[at] = good;
  }
  EXPECT_THAT(chosen(model, 20, 0), testing::Each(testing::Ge(0)));
}

TEST_P(BadLogitsTest, one_nan_among_the_logits_draws_no_token) {
  if (GetParam() == "cpu") GTEST_SKIP() << "the CPU backend draws no tokens, its sampler does";
  TestModel model = random_model(small_shape(), false, false, {}, DType::kBF16, 1);
  model.head.values.back() = kNan;
  EXPECT_THAT(chosen(model, 20, 1.0), testing::Each(kNoToken));
}

INSTANTIATE_TEST_SUITE_P(EveryBackend, BadLogitsTest, testing::Values("cpu", "cuda"),
                         [](const auto& info) { return info.param; });

TEST(ArgMax, finds_nan_and_infinities_wherever_they_are) {
  for (const Isa isa : supported_isas()) {
    const auto& kernels = cpu::kernels_of(isa);
    for (const int count : {1, 16, 45, 1000}) {
      const std::vector<float> plain(static_cast<std::size_t>(count), -1.0F);
      for (int at = 0; at < count; at += 7) {
        const auto best_with = [&](float value) {
          auto values = plain;
          values[static_cast<std::size_t>(at)] = value;
          return kernels.argmax(values.data(), 0, count);
        };
        EXPECT_TRUE(std::isnan(best_with(kNan).value)) << isa_name(isa) << ", " << at;
        EXPECT_EQ(best_with(kInfinity).value, kInfinity);
        EXPECT_EQ(best_with(kInfinity).index, at);
        EXPECT_EQ(best_with(-kInfinity).value, count == 1 ? -kInfinity : -1.0F);
      }
    }
  }
}

}  // namespace
}  // namespace iol::test
