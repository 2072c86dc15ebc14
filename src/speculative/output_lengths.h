#pragma once
#include <cstddef>
#include <vector>

#include "speculative/acceptance.h"

namespace iol {

/// How many tokens requests bring forth, learnt from those that ended lately: clients allow more
/// than they get.
class OutputLengths {
 public:
  /// A request ended.
  void observe(int num_tokens);
  /// The tokens that a request which has got `num_tokens` so far may expect on top: the mean of
  /// what those that got more had still before them. Many before any has ended.
  [[nodiscard]] double expected_rest(int num_tokens) const;
  /// For j drafts and the token behind them, j from 1: the chance that a request which has got
  /// `num_tokens`, and gets one more, wants so many.
  [[nodiscard]] DraftChances wanted_chances(int num_tokens) const;

 private:
  std::vector<int> latest_;  // a ring
  std::vector<int> sorted_;  // the same, rising
  std::size_t next_ = 0;
};

}  // namespace iol
