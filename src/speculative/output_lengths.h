#pragma once
#include <cstddef>
#include <vector>

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

 private:
  std::vector<int> latest_;  // a ring
  std::size_t next_ = 0;
};

}  // namespace iol
