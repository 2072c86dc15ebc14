#include "results_cost.h"

#include <fmt/format.h>

#include <set>
#include <utility>

#include "base/error.h"
#include "economics/cost_output.h"
#include "report/write_cost_records.h"

namespace iol::cli {
namespace {

/// The load that every subject has run, with the most sequences: the same work for all of them.
const report::MeasuredLoad& choose_load(const report::MeasuredRun& run, const LoadChoice& choice) {
  std::set<std::string> subjects;
  for (const auto& load : run.loads) subjects.insert(load.subject);
  const report::MeasuredLoad* best = nullptr;
  for (const auto& load : run.loads) {
    if (!choice.scenario.empty() && load.scenario != choice.scenario) continue;
    if (choice.concurrency != 0 && load.concurrency != choice.concurrency) continue;
    std::set<std::string> with_it;
    for (const auto& other : run.loads) {
      const bool alike = other.scenario == load.scenario && other.concurrency == load.concurrency;
      if (alike && other.output_throughput_tok_s) with_it.insert(other.subject);
    }
    if (with_it != subjects) continue;
    const auto rank = [](const report::MeasuredLoad& entry) {
      return std::pair(entry.scenario == "throughput", entry.concurrency);
    };
    if (best == nullptr || rank(load) > rank(*best)) best = &load;
  }
  if (best != nullptr) return *best;
  throw_input_error(
      "{}: no load{}{} for which output_throughput_tok_s is known of all of its {} subjects; run "
      "'iol bench' again, or choose another --scenario or --concurrency",
      run.file.string(), choice.scenario.empty() ? "" : " '" + choice.scenario + "'",
      choice.concurrency == 0 ? "" : fmt::format(" of concurrency {}", choice.concurrency),
      subjects.size());
}

}  // namespace

void take_measurements(const report::MeasuredRun& run, const LoadChoice& choice,
                       economics::CostQuestion& question) {
  const auto& chosen = choose_load(run, choice);
  question.load = fmt::format("{}, concurrency {}", chosen.scenario, chosen.concurrency);
  for (const auto& load : run.loads) {
    if (load.scenario != chosen.scenario || load.concurrency != chosen.concurrency) continue;
    question.subjects.push_back(
        {load.subject, load.label, *load.output_throughput_tok_s, load.power_mean_w});
  }
}

void record_costs(const std::filesystem::path& folder, double usd_per_device_hour) {
  economics::CostQuestion question;
  question.given_usd_per_device_hour = usd_per_device_hour;
  question.assumptions.utilization = 1;
  take_measurements(report::read_summary(folder), {}, question);
  report::write_cost_records(folder,
                             economics::cost_records(question, economics::answer(question)));
}

}  // namespace iol::cli
