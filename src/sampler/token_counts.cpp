#include "sampler/token_counts.h"

#include <algorithm>

namespace iol {

void TokenCounts::catch_up(const Sequence& sequence) {
  const std::span<const std::int32_t> tokens = sequence.tokens;
  const auto num_prompt_tokens = static_cast<std::size_t>(sequence.num_prompt_tokens);
  if (num_counted_ == 0 || num_counted_ > tokens.size()) {
    count_prompt(tokens.first(num_prompt_tokens));
    num_counted_ = num_prompt_tokens;
  }
  for (const std::int32_t token : tokens.subspan(num_counted_)) {
    const auto entry = std::lower_bound(
        entries_.begin(), entries_.end(), token,
        [](const Entry& candidate, std::int32_t id) { return candidate.token < id; });
    if (entry != entries_.end() && entry->token == token) {
      ++entry->num_in_output;
    } else {
      entries_.insert(entry, {token, 1});
    }
  }
  num_counted_ = tokens.size();
}

void TokenCounts::count_prompt(std::span<const std::int32_t> prompt) {
  entries_.clear();
  for (const std::int32_t token : prompt) entries_.push_back({token, 0});
  const auto by_token = [](const Entry& a, const Entry& b) { return a.token < b.token; };
  std::sort(entries_.begin(), entries_.end(), by_token);
  const auto same_token = [](const Entry& a, const Entry& b) { return a.token == b.token; };
  entries_.erase(std::unique(entries_.begin(), entries_.end(), same_token), entries_.end());
}

}  // namespace iol
