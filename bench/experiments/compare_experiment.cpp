// How often the gate of `iol compare` cries wolf, and how often it sees a slow-down of 3 %, on what
// a real bench measured.
//
//   make experiment      (the bench: iol, its twin, and one slowed by 3 %, interleaved; then this)
//   build/compare_experiment FOLDER
//
// FOLDER holds the records of `iol bench MODEL --engines iol --slow-steps 0,0,3 --repeat N`. A
// comparison is a stretch of consecutive repetitions, as a bench of that many would have measured
// it; 200 of them start at evenly spaced repetitions and overlap. Each is decided by the very code
// of `iol compare --fail-on 'METRIC>0%'`.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <optional>
#include <string>

#include "base/error.h"
#include "report/compare.h"
#include "report/detectable_change.h"
#include "report/subject_part.h"

namespace iol::report {
namespace {

constexpr int kTrials = 200;
constexpr std::int64_t kDefaultRepetitions = 6;
constexpr double kSlowDown = 0.03;

/// What is held against what.
struct Design {
  const char* next;    // the subject that is judged against "iol"
  bool is_sequential;  // its repetitions come after those of "iol", as with two folders
};

struct Outcome {
  int failed = 0;
  int trials = 0;
};

class Experiment {
 public:
  explicit Experiment(const Records& records) : records_(records) {
    for (const char* subject : {"iol", "iol-2", "iol-3"}) {
      if (records.find_subject(subject) == nullptr) {
        throw_input_error("{}: has no subject {}; bench with --engines iol --slow-steps 0,0,3",
                          records.folder.string(), subject);
      }
    }
    for (const auto& request : records.requests) {
      if (!request.warmup) repetitions_ = std::max(repetitions_, request.run.repetition + 1);
    }
    if (repetitions_ < 2 * kDefaultRepetitions) {
      throw_input_error("{}: {} repetitions; at least {} are needed, hundreds make sense",
                        records.folder.string(), repetitions_, 2 * kDefaultRepetitions);
    }
  }

  [[nodiscard]] std::int64_t repetitions() const { return repetitions_; }

  /// All repetitions at once: the true change and the spread.
  [[nodiscard]] FolderComparison whole(const std::string& next, const std::string& metric) const {
    return comparison({next.c_str(), false}, metric, 0, repetitions_);
  }

  /// Nothing when there are too few repetitions for a comparison of `count`.
  [[nodiscard]] std::optional<Outcome> decide(const Design& design, const std::string& metric,
                                              std::int64_t count) const {
    const std::int64_t last = repetitions_ - (design.is_sequential ? 2 : 1) * count;
    if (last < 0) return std::nullopt;
    Outcome outcome{0, kTrials};
    for (int trial = 0; trial < kTrials; ++trial) {
      const std::int64_t first = trial * last / (kTrials - 1);
      outcome.failed += comparison(design, metric, first, count).failed ? 1 : 0;
    }
    return outcome;
  }

 private:
  [[nodiscard]] FolderComparison comparison(const Design& design, const std::string& metric,
                                            std::int64_t first, std::int64_t count) const {
    CompareOptions options;
    options.gates.push_back(parse_gate(metric + ">0%"));
    options.are_interleaved = !design.is_sequential;
    const Records base = subject_part(records_, "iol", "iol", first, count);
    const Records next = subject_part(records_, design.next, "iol",
                                      first + (design.is_sequential ? count : 0), count);
    return compare(base, next, options).comparisons.at(0);
  }

  const Records& records_;
  std::int64_t repetitions_ = 0;
};

std::string share(const std::optional<Outcome>& outcome, bool of_passes) {
  if (!outcome) return "-";
  const int count = of_passes ? outcome->trials - outcome->failed : outcome->failed;
  return fmt::format("{} ({:.1f} %)", count, 100.0 * count / outcome->trials);
}

void print_row(const Experiment& experiment, const std::string& metric, std::int64_t count) {
  const auto of = [&](const char* next, bool is_sequential) {
    return experiment.decide({next, is_sequential}, metric, count);
  };
  fmt::print("| {} | {} | {} | {} | {} | {} |\n", metric, count, share(of("iol-2", false), true),
             share(of("iol-3", false), false), share(of("iol-2", true), true),
             share(of("iol-3", true), false));
}

void run(const std::string& folder) {
  const Records records = read_records(folder);
  const Experiment experiment(records);
  fmt::print(
      "{}: {} repetitions; each comparison is of a stretch of them, {} comparisons a cell\n\n",
      folder, experiment.repetitions(), kTrials);
  fmt::print("| metric | change, all repetitions | log-ratio of a pair, std | {:.0f} % takes |\n",
             kSlowDown * 100);
  fmt::print("| --- | ---: | ---: | ---: |\n");
  for (const char* metric : {"throughput", "tpot_p50", "e2e_p50"}) {
    const auto slow = experiment.whole("iol-3", metric);
    const auto deviation =
        *slow.smallest_visible_change / *detectable_deviations(slow.ratio.pairs, 0.95);
    fmt::print("| {} | {:+.2f} % ({:+.2f} to {:+.2f}) | {:.2f} % | {} repetitions |\n", metric,
               100 * (slow.ratio.ratio - 1), 100 * (slow.ratio.interval->low - 1),
               100 * (slow.ratio.interval->high - 1), 100 * deviation,
               slow.pairs_for_three_percent ? std::to_string(*slow.pairs_for_three_percent)
                                            : "more than 1,000");
  }
  fmt::print(
      "\n| gate METRIC>0% | repetitions | A/A passes, interleaved | 3 % seen, interleaved | A/A "
      "passes, one after the other | 3 % seen, one after the other |\n");
  fmt::print("| --- | ---: | ---: | ---: | ---: | ---: |\n");
  for (const char* metric : {"throughput", "tpot_p50", "e2e_p50"}) {
    print_row(experiment, metric, kDefaultRepetitions);
    const auto needed = experiment.whole("iol-3", metric).pairs_for_three_percent;
    if (needed && *needed > kDefaultRepetitions) print_row(experiment, metric, *needed);
  }
}

}  // namespace
}  // namespace iol::report

int main(int argc, char** argv) try {
  if (argc != 2) {
    fmt::print(stderr, "usage: compare_experiment FOLDER; make experiment measures one\n");
    return 2;
  }
  iol::report::run(argv[1]);
  return 0;
} catch (const iol::InputError& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 2;
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
