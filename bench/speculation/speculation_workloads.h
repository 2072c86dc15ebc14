#pragma once
// What speculation is measured with: prompts for the demo model.
#include <cstdint>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace iol::bench {

using Prompts = std::vector<std::vector<std::int32_t>>;

struct SpeculationWorkload {
  std::string name;
  Prompts prompts;
  double temperature = 0;
  std::vector<int> lengths = {};  // [prompts] tokens after which the client has enough; empty: all
};

/// Of the shipped text, 100 tokens each.
Prompts heldout_prompts(const Tokenizer& tokenizer);
/// A passage given three times over, its beginning a fourth time; records and code of one pattern.
Prompts repetitive_prompts(const Tokenizer& tokenizer, const Prompts& heldout);
/// Of as many tokens, drawn evenly.
Prompts random_prompts(int vocab_size);
/// Prompts of 16 to 128 tokens, and mostly some 20 tokens wanted: what the ladder asks for. The
/// engine isn't told when a client will have enough.
SpeculationWorkload short_requests(const Prompts& heldout);

}  // namespace iol::bench
