// A comparison of two results folders, as text and as JSON.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "report/compare.h"
#include "report/format.h"

namespace iol::report {
namespace {

/// "+1.2 %", "-0.4 %": of a ratio, signed.
std::string change(double ratio) { return fmt::format("{:+.1f} %", (ratio - 1) * 100); }

std::string interval_text(const PairedRatio& ratio) {
  if (!ratio.interval) return "no interval";
  return fmt::format("{} to {}", change(ratio.interval->low), change(ratio.interval->high));
}

std::string visible(const FolderComparison& comparison) {
  if (!comparison.smallest_visible_change) return "too few pairs";
  return fmt::format("{:.1f} %", *comparison.smallest_visible_change * 100);
}

std::string verdict(const FolderComparison& comparison) {
  if (!comparison.gate) return "";
  return fmt::format("{}  {}", comparison.failed ? "FAILED" : "passed", *comparison.gate);
}

constexpr std::size_t kLeastLoadWidth = 38;  // of the first column

std::string load_of(const FolderComparison& comparison) {
  return fmt::format("{}, {}, {}", comparison.subject, comparison.scenario, comparison.concurrency);
}

Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json to_json(const FolderComparison& comparison, double confidence) {
  const auto& interval = comparison.ratio.interval;
  const auto& needed = comparison.pairs_for_three_percent;
  Json json = {
      {"subject", comparison.subject},
      {"scenario", comparison.scenario},
      {"concurrency", comparison.concurrency},
      {"metric", comparison.metric.name},
      {"unit", comparison.metric.unit()},
      {"base", comparison.base},
      {"new", comparison.next},
      {"ratio", comparison.ratio.ratio},
      {"interval", interval ? Json::array({interval->low, interval->high}) : Json(nullptr)},
      {"confidence",
       interval ? Json(std::min(confidence, comparison.ratio.confidence)) : Json(nullptr)},
      {"pairs", comparison.ratio.pairs},
      {"marked_pairs", comparison.marked_pairs},
      {"worse_by", comparison.worsening()},
      {"smallest_visible_change", or_null(comparison.smallest_visible_change)},
      {"repetitions_for_3_percent", needed ? Json(*needed) : Json(nullptr)}};
  if (comparison.gate) {
    json["gate"] = *comparison.gate;
    json["allowed"] = comparison.allowed;
    json["failed"] = comparison.failed;
  }
  return json;
}

}  // namespace

std::string compare_text(const CompareResult& result) {
  std::size_t width = kLeastLoadWidth;
  for (const FolderComparison& comparison : result.comparisons)
    width = std::max(width, load_of(comparison).size() + 2);
  std::string text;
  const auto line = [&](const std::string& content) { text += content + "\n"; };
  line(fmt::format("BASE {}\nNEW  {}", result.base_run, result.next_run));
  line(fmt::format("Ratios NEW / BASE: medians over pairs of repetitions, {:.4g} % intervals{}.\n",
                   result.confidence * 100,
                   result.comparisons.size() > 1 && result.confidence > 0.95
                       ? ", so that all gates together keep 95 %"
                       : ""));
  line(fmt::format("{:<{}}{:<12}{:>11}{:>11}{:>10}  {:<22}{:>6}{:>15}{:>14}", "", width, "metric",
                   "BASE", "NEW", "change", "interval", "pairs", "could see", "3 % takes"));
  bool any_marked = false;
  for (const FolderComparison& comparison : result.comparisons) {
    const auto& needed = comparison.pairs_for_three_percent;
    any_marked |= comparison.marked_pairs > 0;
    line(fmt::format(
        "{:<{}}{:<12}{:>11}{:>11}{:>10}  {:<22}{:>6}{:>15}{:>14}  {}", load_of(comparison), width,
        comparison.metric.name, format_number(comparison.base), format_number(comparison.next),
        change(comparison.ratio.ratio), interval_text(comparison.ratio),
        fmt::format("{}{}", comparison.ratio.pairs, comparison.marked_pairs > 0 ? "*" : ""),
        visible(comparison), needed ? fmt::format("{} pairs", *needed) : "out of reach",
        verdict(comparison)));
  }
  line(
      "\n\"could see\": the smallest worsening that shows with a chance of 90 %; \"3 % takes\": "
      "the "
      "repetitions that show one of 3 %.");
  if (any_marked) {
    line(
        "* pairs during which the machine's memory bandwidth moved by more than 10 %, or between "
        "whose two runs it differs by that much:");
    for (const FolderComparison& comparison : result.comparisons) {
      if (comparison.marked_pairs == 0) continue;
      line(fmt::format("  {} of {} of {}, {}", comparison.marked_pairs, comparison.ratio.pairs,
                       load_of(comparison), comparison.metric.name));
    }
  }
  for (const std::string& note : result.notes) line(note);
  return text;
}

Json compare_json(const CompareResult& result) {
  Json comparisons = Json::array();
  for (const FolderComparison& comparison : result.comparisons)
    comparisons.push_back(to_json(comparison, result.confidence));
  return {{"base", result.base_run},
          {"new", result.next_run},
          {"confidence", result.confidence},
          {"failed", result.failed()},
          {"comparisons", std::move(comparisons)},
          {"notes", result.notes}};
}

}  // namespace iol::report
