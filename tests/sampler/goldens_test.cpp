// Against transformers' LogitsProcessors: tests/goldens/sampler/generate.py wrote the expectations.
#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/random.h"
#include "sampler/logit_processing.h"
#include "sampler/sampler.h"
#include "tests/sampler/reference.h"

namespace iol {
namespace {

using nlohmann::json;

struct Case {
  Sequence sequence;
  std::vector<float> logits;
  std::vector<float> processed;
  std::vector<double> probabilities;
};

SamplingParams parse_parameters(const json& parameters) {
  SamplingParams sampling;
  sampling.temperature = parameters["temperature"];
  sampling.top_k = parameters["top_k"];
  sampling.top_p = parameters["top_p"];
  sampling.min_p = parameters["min_p"];
  sampling.repetition_penalty = parameters["repetition_penalty"];
  sampling.presence_penalty = parameters["presence_penalty"];
  sampling.frequency_penalty = parameters["frequency_penalty"];
  sampling.min_tokens = parameters["min_tokens"];
  sampling.max_tokens = 100;
  for (const auto& bias : parameters["logit_bias"]) {
    sampling.logit_bias.emplace_back(bias[0].get<std::int32_t>(), bias[1].get<float>());
  }
  return sampling;
}

class SamplerGoldens : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ifstream file(IOL_SOURCE_DIR "/tests/goldens/sampler/cases.json");
    const json document = json::parse(file);
    eos_ = {document["eos_token_id"].get<std::int32_t>()};
    for (const auto& entry : document["cases"]) {
      Case golden;
      golden.sequence.sampling = parse_parameters(entry["parameters"]);
      golden.sequence.sampling.validate(static_cast<int>(entry["logits"].size()));
      golden.sequence.tokens = entry["tokens"].get<std::vector<std::int32_t>>();
      golden.sequence.num_prompt_tokens = entry["num_prompt_tokens"];
      golden.logits = entry["logits"].get<std::vector<float>>();
      for (const auto& value : entry["processed"]) {
        golden.processed.push_back(value.is_null() ? -std::numeric_limits<float>::infinity()
                                                   : value.get<float>());
      }
      golden.probabilities = entry["probabilities"].get<std::vector<double>>();
      cases_.push_back(std::move(golden));
    }
    ASSERT_GE(cases_.size(), 60U);
  }

  std::vector<std::int32_t> eos_;
  std::vector<Case> cases_;
};

TEST_F(SamplerGoldens, processed_logits_equal_those_of_transformers) {
  for (std::size_t c = 0; c < cases_.size(); ++c) {
    TokenCounts counts;
    counts.catch_up(cases_[c].sequence);
    process_logits(cases_[c].logits, cases_[c].sequence, counts, eos_);
    for (std::size_t i = 0; i < cases_[c].logits.size(); ++i) {
      ASSERT_FLOAT_EQ(cases_[c].logits[i], cases_[c].processed[i]) << "case " << c << " id " << i;
    }
  }
}

TEST_F(SamplerGoldens, drawn_tokens_are_the_inverse_cdf_of_transformers_probabilities) {
  Sampler sampler(eos_);
  for (std::size_t c = 0; c < cases_.size(); ++c) {
    Sequence& sequence = cases_[c].sequence;
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
      sequence.seed = seed;
      SamplerState state;
      auto logits = cases_[c].logits;
      const std::int32_t token = sampler.sample(logits, sequence, state).token;
      const double uniform = random_uniform(
          seed, kSamplingStream, static_cast<std::uint64_t>(sequence.num_output_tokens()));
      ASSERT_TRUE(testing::is_inverse_cdf(cases_[c].probabilities, uniform, token, 1e-6))
          << "case " << c << " seed " << seed << " token " << token;
    }
  }
}

TEST_F(SamplerGoldens, a_wrong_probability_would_be_seen) {
  Sampler sampler(eos_);
  int num_mismatches = 0;
  for (Case& golden : cases_) {
    auto wrong = golden.probabilities;
    std::rotate(wrong.begin(), wrong.begin() + 1, wrong.end());
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      golden.sequence.seed = seed;
      SamplerState state;
      auto logits = golden.logits;
      const std::int32_t token = sampler.sample(logits, golden.sequence, state).token;
      const double uniform = random_uniform(
          seed, kSamplingStream, static_cast<std::uint64_t>(golden.sequence.num_output_tokens()));
      if (!testing::is_inverse_cdf(wrong, uniform, token, 1e-6)) ++num_mismatches;
    }
  }
  EXPECT_GT(num_mismatches, 600);
}

}  // namespace
}  // namespace iol
