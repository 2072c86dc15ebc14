#include "report/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "report/comparability.h"
#include "report/detectable_change.h"
#include "report/runs.h"

namespace iol::report {
namespace {

constexpr double kFalseAlarms = 0.05;  // of all gates together
constexpr double kAskedChange = 0.03;  // the change whose need of repetitions is told

using Load = std::tuple<std::string, std::string, std::int64_t>;  // subject, scenario, concurrency
using Repetitions = std::map<std::int64_t, const Run*>;
using RunsByLoad = std::map<Load, Repetitions>;

RunsByLoad by_load(const std::vector<Run>& runs, const CompareOptions& options) {
  RunsByLoad result;
  for (const Run& run : runs) {
    if (options.subject && run.key.subject != *options.subject) continue;
    if (options.scenario && run.key.scenario != *options.scenario) continue;
    if (options.concurrency && run.key.concurrency != *options.concurrency) continue;
    result[{run.key.subject, run.key.scenario, run.key.concurrency}][run.key.repetition] = &run;
  }
  return result;
}

bool is_marked(const Run& a, const Run& b) {
  if (a.canary_moved || b.canary_moved) return true;
  if (!a.canary_bytes_per_s || !b.canary_bytes_per_s) return false;
  return std::abs(*a.canary_bytes_per_s / *b.canary_bytes_per_s - 1) > kMarkFraction;
}

/// What is to be compared: a load that both have, and a metric with its gate.
struct Task {
  Load load;
  const Repetitions* base;
  const Repetitions* next;
  RunMetric metric;
  const Gate* gate = nullptr;
};

std::vector<Task> make_tasks(const RunsByLoad& base, const RunsByLoad& next,
                             const CompareOptions& options) {
  std::vector<Task> tasks;
  for (const auto& [load, base_runs] : base) {
    const auto other = next.find(load);
    if (other == next.end()) continue;
    for (const Gate& gate : options.gates)
      tasks.push_back({load, &base_runs, &other->second, gate.metric, &gate});
    if (!options.gates.empty()) continue;
    for (const char* name : {"throughput", "ttft_p50", "tpot_p50", "e2e_p50"})
      tasks.push_back({load, &base_runs, &other->second, *find_run_metric(name), nullptr});
  }
  return tasks;
}

std::string load_text(const Load& load) {
  return fmt::format("{}, {}, concurrency {}", std::get<0>(load), std::get<1>(load),
                     std::get<2>(load));
}

void decide(FolderComparison& result, const Gate& gate, double confidence) {
  result.gate = gate.text;
  result.allowed = gate.allowed;
  const std::int64_t fewest = fewest_pairs(confidence);
  if (result.ratio.pairs < fewest) {
    throw_input_error(
        "--fail-on '{}': {} pairs of {}, {}, concurrency {} are too few for a decision; it takes "
        "{} "
        "repetitions in both folders ('iol bench --repeat {}')",
        gate.text, result.ratio.pairs, result.subject, result.scenario, result.concurrency, fewest,
        fewest);
  }
  result.failed = result.metric.higher_is_better() ? result.ratio.interval->high < 1 - gate.allowed
                                                   : result.ratio.interval->low > 1 + gate.allowed;
}

/// Nothing when no pair has the metric.
std::optional<FolderComparison> compare_one(const Task& task, std::uint64_t seed,
                                            double confidence) {
  std::vector<double> base;
  std::vector<double> next;
  FolderComparison result;
  for (const auto& [repetition, base_run] : *task.base) {
    const auto other = task.next->find(repetition);
    if (other == task.next->end()) continue;
    const auto base_value = task.metric.of(*base_run);
    const auto next_value = task.metric.of(*other->second);
    if (!base_value || !next_value || *base_value <= 0 || *next_value <= 0) continue;
    base.push_back(*base_value);
    next.push_back(*next_value);
    result.marked_pairs += is_marked(*base_run, *other->second) ? 1 : 0;
  }
  if (base.empty()) return std::nullopt;
  std::tie(result.subject, result.scenario, result.concurrency) = task.load;
  result.metric = task.metric;
  result.ratio = paired_ratio(next, base, seed, confidence);
  result.base = median(base);
  result.next = median(next);
  if (const auto deviation = log_ratio_deviation(next, base)) {
    const auto pairs = static_cast<std::int64_t>(base.size());
    result.smallest_visible_change = smallest_visible_change(pairs, *deviation, confidence);
    result.pairs_for_three_percent = pairs_needed(kAskedChange, *deviation, confidence);
  }
  if (task.gate != nullptr) decide(result, *task.gate, confidence);
  return result;
}

void note_repetitions(const std::vector<Task>& tasks, std::vector<std::string>& notes) {
  std::set<Load> told;
  for (const Task& task : tasks) {
    if (task.base->size() == task.next->size() || !told.insert(task.load).second) continue;
    notes.push_back(
        fmt::format("{}: {} repetitions in BASE and {} in NEW; those that both have are "
                    "compared.",
                    load_text(task.load), task.base->size(), task.next->size()));
  }
}

void note_failures(const std::vector<Run>& base, const std::vector<Run>& next,
                   std::vector<std::string>& notes) {
  const auto failed = [](const std::vector<Run>& runs) {
    std::int64_t count = 0;
    for (const Run& run : runs) count += run.failed;
    return count;
  };
  const auto before = failed(base);
  const auto after = failed(next);
  if (before == 0 && after == 0) return;
  notes.push_back(
      fmt::format("Requests that failed: {} in BASE, {} in NEW; durations are of those "
                  "that succeeded.",
                  before, after));
}

}  // namespace

double FolderComparison::worsening() const {
  return metric.higher_is_better() ? 1 - ratio.ratio : ratio.ratio - 1;
}

bool CompareResult::failed() const {
  return std::any_of(comparisons.begin(), comparisons.end(),
                     [](const FolderComparison& comparison) { return comparison.failed; });
}

CompareResult compare(const Records& base, const Records& next, const CompareOptions& options) {
  CompareResult result;
  result.base_run = base.run_id;
  result.next_run = next.run_id;
  result.notes = check_comparable(base, next, options.are_interleaved);
  std::vector<Run> base_runs = group_runs(base);
  std::vector<Run> next_runs = group_runs(next);
  for (auto& [runs, records] : {std::pair(&base_runs, &base), std::pair(&next_runs, &next)}) {
    if (auto note = remove_unfinished_run(*runs, *records)) {
      result.notes.push_back(records->run_id + ": " + *note);
    }
  }
  const RunsByLoad base_loads = by_load(base_runs, options);
  const RunsByLoad next_loads = by_load(next_runs, options);
  const auto tasks = make_tasks(base_loads, next_loads, options);
  if (tasks.empty()) {
    throw_input_error(
        "{} and {}: no subject under the same scenario and concurrency in both; bench them alike, "
        "or leave out --subject, --scenario and --concurrency",
        base.folder.string(), next.folder.string());
  }
  if (!options.gates.empty()) {
    result.confidence = 1 - kFalseAlarms / static_cast<double>(tasks.size());
  }
  for (const Task& task : tasks) {
    auto comparison = compare_one(task, options.seed, result.confidence);
    if (comparison) {
      result.comparisons.push_back(std::move(*comparison));
    } else if (task.gate != nullptr) {
      throw_input_error("--fail-on '{}': {} has no {} in both folders{}", task.gate->text,
                        load_text(task.load), task.metric.name,
                        task.metric.name == "goodput" ? "; it needs 'iol bench --slo'" : "");
    }
  }
  if (result.comparisons.empty()) {
    throw_input_error("{} and {}: no repetition was measured in both", base.folder.string(),
                      next.folder.string());
  }
  note_repetitions(tasks, result.notes);
  note_failures(base_runs, next_runs, result.notes);
  return result;
}

}  // namespace iol::report
