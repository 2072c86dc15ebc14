#include "bench/quality/quality_intervals.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"
#include "bench/json_or_null.h"
#include "bench/quality/quality.h"

namespace iol::bench {
namespace {

using nlohmann::json;

/// As numpy.percentile() with its default method.
double percentile(const std::vector<double>& sorted, double percent) {
  const double place = percent / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double part = place - static_cast<double>(below);
  return sorted[below] + part * (sorted[above] - sorted[below]);
}

ConfidenceInterval interval_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {percentile(values, 2.5), percentile(values, 97.5)};
}

json interval_json(const std::optional<ConfidenceInterval>& interval) {
  return interval ? json{interval->low, interval->high} : json(nullptr);
}

}  // namespace

std::optional<QualityIntervals> quality_intervals(std::span<const WindowQuality> all_windows,
                                                  bool has_reference, std::uint64_t seed) {
  std::vector<WindowQuality> windows;  // a last window of one token scores nothing
  for (const auto& window : all_windows) {
    if (window.num_scored > 0) windows.push_back(window);
  }
  if (windows.size() < kLeastWindows) return std::nullopt;
  std::vector<double> perplexities;
  std::vector<double> divergences;
  std::vector<double> agreements;
  std::vector<double> ratios;
  for (int resample = 0; resample < kNumResamples; ++resample) {
    RandomStream random(seed, static_cast<std::uint64_t>(resample));
    WindowQuality sum;
    for (std::size_t i = 0; i < windows.size(); ++i) sum += windows[random.below(windows.size())];
    const auto count = static_cast<double>(sum.num_scored);
    perplexities.push_back(std::exp(sum.negative_log_likelihood / count));
    divergences.push_back(sum.kl_divergence / count);
    agreements.push_back(static_cast<double>(sum.same_top) / count);
    ratios.push_back(
        std::exp((sum.negative_log_likelihood - sum.reference_negative_log_likelihood) / count));
  }
  QualityIntervals intervals;
  intervals.perplexity = interval_of(std::move(perplexities));
  if (has_reference) {
    intervals.kl_divergence_nats = interval_of(std::move(divergences));
    intervals.top1_agreement = interval_of(std::move(agreements));
    intervals.perplexity_ratio = interval_of(std::move(ratios));
  }
  return intervals;
}

json quality_json(const Quality& quality) {
  const auto& intervals = quality.intervals;
  const auto ci95 = [&](auto member) {
    return intervals ? interval_json((*intervals).*member) : json(nullptr);
  };
  json record = {
      {"perplexity", quality.perplexity},
      {"perplexity_ci95", intervals ? interval_json(intervals->perplexity) : json(nullptr)},
      {"loss_nats", quality.loss},
      {"perplexity_ratio", or_null(quality.perplexity_ratio)},
      {"perplexity_ratio_ci95", ci95(&QualityIntervals::perplexity_ratio)},
      {"kl_divergence_nats", or_null(quality.kl_divergence_nats)},
      {"kl_divergence_ci95_nats", ci95(&QualityIntervals::kl_divergence_nats)},
      {"top1_agreement", or_null(quality.top1_agreement)},
      {"top1_agreement_ci95", ci95(&QualityIntervals::top1_agreement)},
      {"windows", quality.windows.size()}};
  if (!intervals) {
    record["interval_note"] =
        fmt::format("no 95 % interval: {} windows, and at least {} are needed",
                    quality.windows.size(), kLeastWindows);
  }
  return record;
}

}  // namespace iol::bench
