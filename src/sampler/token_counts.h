#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "request/sequence.h"

namespace iol {

/// Which tokens a sequence holds and how often it produced them, as the penalties ask. Kept up
/// incrementally; can be thrown away at any time, since it follows from the sequence's tokens.
class TokenCounts {
 public:
  struct Entry {
    std::int32_t token;
    int num_in_output;  // 0: in the prompt alone
  };

  /// Counts the tokens appended since the last call, or all of them when there are fewer now.
  void catch_up(const Sequence& sequence);
  /// Every token of prompt and output once, in ascending order.
  [[nodiscard]] std::span<const Entry> entries() const { return entries_; }

 private:
  void count_prompt(std::span<const std::int32_t> prompt);

  std::vector<Entry> entries_;
  std::size_t num_counted_ = 0;
};

}  // namespace iol
