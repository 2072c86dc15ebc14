// What prompt lookup costs a step: taking in a token and searching, by the length of the text.
//
//   lookup_bench          prints mean and longest in microseconds, indexing a whole prompt too
#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "base/random.h"
#include "speculative/ngram_drafter.h"

namespace {

using iol::now_ns;

/// Prose-like: mostly new, with passages copied from earlier.
std::int32_t next_token(iol::RandomStream& random, const std::vector<std::int32_t>& text,
                        std::size_t& copied_from) {
  if (random.below(40) == 0 && !text.empty()) copied_from = random.below(text.size());
  if (random.below(40) == 0) copied_from = text.size();
  if (copied_from < text.size()) return text[copied_from++];
  return static_cast<std::int32_t>(random.below(8192));
}

void measure(int num_tokens) {
  constexpr int kSteps = 2000;
  iol::RandomStream random(1);
  std::size_t copied_from = 0;
  iol::Sequence sequence;
  sequence.sampling.max_tokens = kSteps;
  while (sequence.num_tokens() < num_tokens) {
    sequence.tokens.push_back(next_token(random, sequence.tokens, copied_from));
  }
  sequence.num_prompt_tokens = num_tokens;
  iol::NgramDrafter drafter;
  iol::Draft draft;
  iol::Draft* const asked[] = {&draft};
  draft.sequence = &sequence;
  draft.max_tokens = 16;
  const auto step = [&] {
    draft.tokens.clear();
    const auto start_ns = now_ns();
    drafter.propose(asked);
    return static_cast<double>(now_ns() - start_ns) * 1e-3;
  };
  const double prompt_us = step();
  double sum_us = 0;
  std::vector<double> steps_us;
  int num_found = 0;
  for (int i = 0; i < kSteps; ++i) {
    sequence.tokens.push_back(next_token(random, sequence.tokens, copied_from));
    steps_us.push_back(step());
    sum_us += steps_us.back();
    num_found += draft.tokens.empty() ? 0 : 1;
  }
  std::ranges::sort(steps_us);
  fmt::print("{:>8} {:>12.2f} {:>12.2f} {:>12.2f} {:>14.0f} {:>10.0f}\n", num_tokens,
             sum_us / kSteps, steps_us[kSteps / 2], steps_us[kSteps * 99 / 100], prompt_us,
             100.0 * num_found / kSteps);
}

}  // namespace

int main() {
  fmt::print("{:>8} {:>12} {:>12} {:>12} {:>14} {:>10}\n", "tokens", "mean us", "median us",
             "p99 us", "prompt us", "found %");
  for (const int num_tokens : {1024, 8192, 32768, 131072}) measure(num_tokens);
}
