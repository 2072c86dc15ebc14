#pragma once
#include <optional>

namespace iol {

/// What rows take in steps that compute prompts too. Rows of prompts want no logits and share their
/// attention, so a step of many rows says little of what a few drafts more would take. Least
/// squares over the steps seen, those of long ago in part:
///   seconds = a + b * rows without logits + c * rows with logits
class RowCosts {
 public:
  void observe(int num_without_logits, int num_with_logits, double seconds);
  /// c, less its standard error; 0 while that says nothing.
  [[nodiscard]] double least_seconds() const;
  /// a + c * rows: of such a step but for its prompts; nothing while that isn't known.
  [[nodiscard]] std::optional<double> seconds_beside_prompts(int num_with_logits) const;

 private:
  struct Fit {
    double without = 0;  // b
    double with = 0;     // c
    double error = 0;    // its standard error
  };
  [[nodiscard]] std::optional<Fit> solve() const;

  std::optional<Fit> fit_;  // of what was observed: it is asked for many times a step
  double count_ = 0;
  // Means, and sums of products of what lies beside them.
  double without_ = 0, with_ = 0, seconds_ = 0;
  double without_without_ = 0, without_with_ = 0, with_with_ = 0;
  double without_seconds_ = 0, with_seconds_ = 0, seconds_seconds_ = 0;
};

}  // namespace iol
