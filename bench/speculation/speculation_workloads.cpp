#include "bench/speculation/speculation_workloads.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <utility>

#include "base/random.h"
#include "model/resolve.h"
#include "workload/length_distribution.h"

namespace iol::bench {
namespace {

constexpr int kPromptTokens = 100;

}  // namespace

Prompts heldout_prompts(const Tokenizer& tokenizer) {
  std::ifstream file(find_shipped("heldout.txt").value());
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const auto tokens = tokenizer.encode(text);
  Prompts prompts;
  for (std::size_t begin = 1; begin + kPromptTokens < tokens.size(); begin += 900) {
    prompts.emplace_back(tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                         tokens.begin() + static_cast<std::ptrdiff_t>(begin + kPromptTokens));
  }
  return prompts;
}

Prompts repetitive_prompts(const Tokenizer& tokenizer, const Prompts& heldout) {
  Prompts prompts;
  for (std::size_t i = 0; i < heldout.size(); ++i) {
    if (i % 3 == 0) {
      std::vector<std::int32_t> prompt;
      for (int copy = 0; copy < 3; ++copy) {
        prompt.insert(prompt.end(), heldout[i].begin(), heldout[i].end());
      }
      prompt.insert(prompt.end(), heldout[i].begin(), heldout[i].begin() + 30);
      prompts.push_back(std::move(prompt));
      continue;
    }
    std::string text;
    for (int row = 1; row <= 12; ++row) {
      text += i % 3 == 1 ? fmt::format("{{\"id\": {}, \"name\": \"item {}\", \"price\": {}.50}},\n",
                                       row, row, 10 + i % 7)
                         : fmt::format("void set_value_{}(int value) {{ values[{}] = value; }}\n",
                                       row, row);
    }
    prompts.push_back(tokenizer.encode(text));
  }
  return prompts;
}

SpeculationWorkload short_requests(const Prompts& heldout) {
  const LengthDistribution prompt_tokens = LengthDistribution::parse("uniform:16:128", "prompts");
  const LengthDistribution output_tokens = LengthDistribution::parse("lognormal:3:0.7", "outputs");
  RandomStream random(2);
  SpeculationWorkload workload{"short requests", {}};
  for (std::size_t i = 0; i + 1 < heldout.size(); ++i) {
    std::vector<std::int32_t> prompt = heldout[i];
    prompt.insert(prompt.end(), heldout[i + 1].begin(), heldout[i + 1].end());
    prompt.resize(static_cast<std::size_t>(prompt_tokens.sample(random)));
    workload.prompts.push_back(std::move(prompt));
    workload.lengths.push_back(static_cast<int>(output_tokens.sample(random)));
  }
  return workload;
}

Prompts random_prompts(int vocab_size) {
  RandomStream random(1);
  Prompts prompts(80, std::vector<std::int32_t>(kPromptTokens));
  for (auto& prompt : prompts) {
    for (auto& token : prompt) {
      token = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocab_size)));
    }
  }
  return prompts;
}

}  // namespace iol::bench
