// Tokens that the GPU draws are those that the host's sampler draws from the same logits. Needs a
// GPU.
#include <gtest/gtest.h>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/cuda_device.h"
#include "sampler/sampler.h"
#include "tests/backend/device_model.h"

namespace iol::test {
namespace {

constexpr int kNumDraws = 300;
constexpr int kVocabSize = 5003;  // several chunks, the last of odd length

class CudaSamplerTest : public testing::TestWithParam<SamplingParams> {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

Sequence sequence_at(const SamplingParams& sampling, int position) {
  Sequence sequence;
  sequence.sampling = sampling;
  sequence.seed = 11;
  sequence.tokens.assign(static_cast<std::size_t>(position), 0);
  return sequence;
}

TEST_P(CudaSamplerTest, draws_the_tokens_of_the_host) {
  TransformerShape shape = small_shape();
  shape.vocab_size = kVocabSize;
  TestModel model = random_model(shape, false, false, {}, DType::kBF16, 1);
  for (float& weight : model.head.values) weight *= 8.0F;  // some tokens much likelier than others
  DeviceModel showing(model, make_cuda_backend({0, 2, DType::kBF16}), DeviceFormats{});
  DeviceModel drawing(model, make_cuda_backend({0, 2, DType::kBF16}), DeviceFormats{});
  const auto tokens = random_tokens(kNumDraws, kVocabSize, 5);
  auto stream = showing.open(tokens);
  auto same_stream = drawing.open(tokens);
  auto logits = showing.step({{&stream, kNumDraws}});
  std::vector<TokenChoice> choices;
  for (int i = 0; i < kNumDraws; ++i)
    choices.push_back(token_choice(sequence_at(GetParam(), i)).value());
  const auto drawn = drawing.choose(same_stream, choices);
  Sampler sampler({});
  int num_most_likely = 0;
  for (int i = 0; i < kNumDraws; ++i) {
    auto& row = logits[static_cast<std::size_t>(i)];
    const auto most_likely = std::max_element(row.begin(), row.end()) - row.begin();
    SamplerState state;
    const auto wanted = sampler.sample(row, sequence_at(GetParam(), i), state).token;
    ASSERT_EQ(drawn[static_cast<std::size_t>(i)], wanted) << "draw " << i;
    num_most_likely += wanted == most_likely ? 1 : 0;
  }
  EXPECT_LT(num_most_likely, kNumDraws) << "nothing was drawn at random";
}

INSTANTIATE_TEST_SUITE_P(
    EveryTruncation, CudaSamplerTest,
    testing::Values(SamplingParams{.temperature = 1.0}, SamplingParams{.temperature = 0.3},
                    SamplingParams{.temperature = 2.5},
                    SamplingParams{.temperature = 0.8, .top_k = 40},
                    SamplingParams{.temperature = 1.0, .top_k = 2},
                    SamplingParams{.temperature = 0.9, .top_p = 0.95},
                    SamplingParams{.temperature = 1.2, .top_p = 0.3},
                    SamplingParams{.temperature = 1.0, .min_p = 0.05},
                    SamplingParams{.temperature = 0.7, .top_k = 100, .top_p = 0.8, .min_p = 0.02}));

TEST_F(CudaSamplerTest, a_row_with_nan_gets_no_token) {
  TestModel model = random_model(small_shape(), false, false, {}, DType::kBF16, 1);
  model.final_norm.values[3] = std::numeric_limits<float>::quiet_NaN();
  DeviceModel drawing(model, make_cuda_backend({0, 2, DType::kBF16}), DeviceFormats{});
  auto stream = drawing.open(random_tokens(2, model.shape.vocab_size, 5));
  TokenChoice choice;
  choice.temperature = 1.0;
  for (const std::int32_t token : drawing.choose(stream, {choice, choice}))
    EXPECT_EQ(token, kNoToken);
}

}  // namespace
}  // namespace iol::test
