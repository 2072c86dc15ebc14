#include "speculative/row_costs.h"

#include <algorithm>
#include <cmath>

namespace iol {
namespace {

constexpr double kKeep = 0.995;  // of what was seen, as another step is
constexpr double kLeastSteps = 20;
constexpr double kLeastDeterminant = 0.02;  // of what rows that don't go together would have

}  // namespace

void RowCosts::observe(int num_without_logits, int num_with_logits, double seconds) {
  count_ = kKeep * count_ + 1;
  const double without = num_without_logits - without_;
  const double with = num_with_logits - with_;
  const double time = seconds - seconds_;
  without_ += without / count_;
  with_ += with / count_;
  seconds_ += time / count_;
  const auto add = [](double& sum, double product) { sum = kKeep * sum + product; };
  add(without_without_, without * (num_without_logits - without_));
  add(without_with_, without * (num_with_logits - with_));
  add(with_with_, with * (num_with_logits - with_));
  add(without_seconds_, without * (seconds - seconds_));
  add(with_seconds_, with * (seconds - seconds_));
  add(seconds_seconds_, time * (seconds - seconds_));
  fit_ = solve();
}

std::optional<RowCosts::Fit> RowCosts::solve() const {
  const double determinant = without_without_ * with_with_ - without_with_ * without_with_;
  if (count_ < kLeastSteps || determinant <= kLeastDeterminant * without_without_ * with_with_)
    return {};
  Fit fit;
  fit.without = (without_seconds_ * with_with_ - with_seconds_ * without_with_) / determinant;
  fit.with = (with_seconds_ * without_without_ - without_seconds_ * without_with_) / determinant;
  const double rest = seconds_seconds_ - fit.without * without_seconds_ - fit.with * with_seconds_;
  const double variance = std::max(rest, 0.0) / (count_ - 3);
  fit.error = std::sqrt(variance * without_without_ / determinant);
  return fit;
}

double RowCosts::least_seconds() const {
  return fit_ ? std::max(0.0, fit_->with - fit_->error) : 0;
}

std::optional<double> RowCosts::seconds_beside_prompts(int num_with_logits) const {
  if (!fit_) return {};
  const double seconds =
      seconds_ - fit_->without * without_ + fit_->with * (num_with_logits - with_);
  if (seconds <= 0) return {};
  return seconds;
}

}  // namespace iol
