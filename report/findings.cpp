#include "report/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "report/format.h"
#include "report/gpu_clocks.h"
#include "report/headline.h"

namespace iol::report {
namespace {

// Of a load generator: below what any latency here is resolved to.
constexpr double kPunctualMs = 1;

std::string plural(std::int64_t count, const char* noun) {
  return fmt::format("{} {}{}", format_count(count), noun, count == 1 ? "" : "s");
}

Finding repetitions_finding(const RunReport& report) {
  std::int64_t fewest = report.summaries.front().repetitions;
  std::int64_t most = 0;
  std::int64_t requests = 0;
  for (const Summary& summary : report.summaries) {
    fewest = std::min(fewest, summary.repetitions);
    most = std::max(most, summary.repetitions);
    requests += summary.requests;
  }
  const auto warmups = std::count_if(report.records.requests.begin(), report.records.requests.end(),
                                     [](const RequestRecord& request) { return request.warmup; });
  Finding finding{Level::kOk, "Repetitions", ""};
  finding.text =
      fmt::format("{} of every scenario, subjects interleaved; {} measured after {} of warm-up.",
                  fewest == most ? plural(most, "repetition")
                                 : fmt::format("{} to {} repetitions", fewest, most),
                  plural(requests, "request"), plural(warmups, "request"));
  if (fewest != most) {
    finding.level = Level::kWarning;
    finding.text += " The run is incomplete: not every scenario was repeated equally often.";
  } else if (most < 3) {
    finding.level = Level::kWarning;
    finding.text += " Too few to tell a difference from noise; use --repeat 6 or more.";
  }
  return finding;
}

Finding intervals_finding(const RunReport& report) {
  Finding finding{Level::kOk, "Intervals", ""};
  double confidence = 0.95;
  std::int64_t pairs = 0;
  for (const Comparison& comparison : report.comparisons) {
    confidence = std::min(confidence, comparison.ratio.confidence);
    pairs = std::max(pairs, comparison.ratio.pairs);
  }
  if (report.comparisons.empty()) {
    finding.level = Level::kNote;
    finding.text = "One subject only: nothing to compare.";
    return finding;
  }
  finding.text =
      "Every gain is the median over pairs of neighbouring runs, with a 95 % bootstrap "
      "interval over the pairs.";
  if (confidence < 0.95 && confidence > 0) {
    finding.level = Level::kNote;
    finding.text = fmt::format(
        "Every gain is the median over {} of neighbouring runs. So few support an interval of "
        "{:.0f} % at most (the range of the pairs), not 95 %; six repetitions reach 95 %.",
        plural(pairs, "pair"), confidence * 100);
  } else if (confidence == 0) {
    finding.level = Level::kWarning;
    finding.text = "Some gains rest on a single pair of runs and have no interval.";
  }
  return finding;
}

void add_failures(std::vector<Finding>& findings, const RunReport& report) {
  std::map<std::string, std::pair<std::int64_t, std::string>> by_subject;
  std::map<std::string, std::int64_t> totals;
  for (const RequestRecord& request : report.records.requests) {
    if (request.warmup) continue;
    ++totals[request.run.subject];
    if (request.succeeded()) continue;
    auto& [count, message] = by_subject[request.run.subject];
    if (count++ == 0) message = request.error->type + ": " + request.error->message;
  }
  if (by_subject.empty()) {
    findings.push_back({Level::kOk, "Failures", "No request failed."});
  }
  for (const auto& [subject, failure] : by_subject) {
    findings.push_back({Level::kWarning, "Failures",
                        fmt::format("{} of {} of {} failed; the first: {}", failure.first,
                                    plural(totals[subject], "request"), label_of(report, subject),
                                    failure.second)});
  }
  for (const SubjectRecord& subject : report.records.subjects) {
    if (totals.count(subject.name) == 0) {
      findings.push_back({Level::kWarning, "Missing",
                          subject.label + " has no measured request in these records."});
    }
  }
}

Finding canary_finding(const RunReport& report) {
  Finding finding{Level::kOk, "Canary", ""};
  double low = 0;
  double high = 0;
  for (const CanaryRecord& canary : report.records.canaries) {
    low = low == 0 ? canary.read_bytes_per_s : std::min(low, canary.read_bytes_per_s);
    high = std::max(high, canary.read_bytes_per_s);
  }
  std::int64_t moved = 0;
  std::int64_t runs = 0;
  for (const Summary& summary : report.summaries) {
    moved += summary.runs_with_moved_canary;
    runs += summary.repetitions;
  }
  if (report.records.canaries.empty()) {
    return {Level::kWarning, "Canary",
            "No canary was recorded: a change of the machine during the run would go unseen."};
  }
  const auto marked = std::count_if(report.comparisons.begin(), report.comparisons.end(),
                                    [](const Comparison& c) { return c.marked_pairs > 0; });
  finding.text = fmt::format("Memory bandwidth around the runs: {} to {}. ", format_bandwidth(low),
                             format_bandwidth(high));
  if (moved == 0 && marked == 0) {
    finding.text +=
        fmt::format("It moved by less than 10 % around each of {}.", plural(runs, "run"));
    return finding;
  }
  finding.level = Level::kWarning;
  finding.text += fmt::format(
      "It moved by more than 10 % during {} of {}, and {} hold a pair whose two runs saw "
      "different bandwidths: the machine itself changed. They are marked in the tables.",
      moved, plural(runs, "run"), plural(marked, "comparison"));
  return finding;
}

Finding length_finding(const RunReport& report) {
  std::int64_t off = 0;
  std::string subjects;
  for (const Summary& summary : report.summaries) {
    if (summary.runs_with_length_off == 0) continue;
    off += summary.runs_with_length_off;
    const std::string& label = label_of(report, summary.subject);
    if (subjects.find(label) == std::string::npos) {
      subjects += (subjects.empty() ? "" : ", ") + label;
    }
  }
  const bool asked = std::any_of(
      report.records.requests.begin(), report.records.requests.end(),
      [](const RequestRecord& request) { return request.requested_output_tokens.has_value(); });
  if (!asked) {
    return {Level::kNote, "Output lengths",
            "The records do not say how many tokens were asked for; lengths were not checked."};
  }
  if (off == 0)
    return {Level::kOk, "Output lengths", "Every run produced the length it was asked for."};
  return {Level::kWarning, "Output lengths",
          fmt::format("{} produced output lengths off the asked length by more than 10 % ({}); "
                      "their speeds are not comparable one to one.",
                      plural(off, "run"), subjects)};
}

std::optional<Finding> noise_finding(const RunReport& report) {
  double low = 1;
  double high = 1;
  bool any = false;
  for (const Summary& summary : report.summaries) {
    if (!summary.self_ratio) continue;
    any = true;
    low = std::min(low, summary.self_ratio->ratio);
    high = std::max(high, summary.self_ratio->ratio);
  }
  if (!any) return std::nullopt;
  const double spread = std::max(high - 1, 1 - low);
  Finding finding{spread > 0.10 ? Level::kWarning : Level::kOk, "Noise (A/A)", ""};
  finding.text = fmt::format(
      "A subject against its own next repetition comes out between {} and {}. That much is the "
      "machine, not the subject; pairing neighbouring runs cancels what both felt.",
      format_gain(low), format_gain(high));
  return finding;
}

void add_plausibility(std::vector<Finding>& findings, const RunReport& report) {
  std::string beyond;
  for (const Summary& summary : report.summaries) {
    if (!summary.limit_fraction || *summary.limit_fraction <= kPlausibleFraction) continue;
    beyond += fmt::format(
        "{}{} with {} {}", beyond.empty() ? "" : ", ", label_of(report, summary.subject),
        load_text(summary.scenario, summary.concurrency), format_percent(*summary.limit_fraction));
  }
  if (!beyond.empty()) {
    findings.push_back({Level::kWarning, "Limit",
                        "Beyond the limit: " + beyond +
                            ". Weights were read faster than the canary read as many bytes, so the "
                            "true limit lies higher."});
  }
  std::int64_t inconsistent = 0;
  for (const RequestRecord& request : report.records.requests) {
    if (!request.succeeded() || !request.e2e_ms) continue;
    const double stamps_ms = static_cast<double>(request.end_ns - request.intended_start_ns) * 1e-6;
    const bool disagrees = std::abs(*request.e2e_ms - stamps_ms) > 1 + 0.01 * stamps_ms;
    const bool reversed = request.ttft_ms && *request.ttft_ms > *request.e2e_ms * 1.0001;
    inconsistent += disagrees || reversed ? 1 : 0;
  }
  if (inconsistent > 0) {
    findings.push_back(
        {Level::kWarning, "Consistency",
         fmt::format("{} at odds with itself (latency against time stamps, or first token after "
                     "the last): do not trust these records.",
                     plural(inconsistent, "request"))});
  }
  for (const SubjectRecord& subject : report.records.subjects) {
    if (!subject.synthetic) continue;
    findings.push_back({Level::kNote, "Random weights",
                        "The model has random weights: speed is real, text and quality mean "
                        "nothing."});
    break;
  }
}

/// What servers say that they counted, and what they remembered from earlier runs.
void add_usage(std::vector<Finding>& findings, const RunReport& report) {
  std::map<std::string, UsageRecord> by_subject;
  for (const RunRecord& run : report.records.runs) {
    if (!run.usage) continue;
    UsageRecord& sum = by_subject[run.run.subject];
    sum.requests += run.usage->requests;
    sum.without_usage += run.usage->without_usage;
    sum.checked += run.usage->checked;
    sum.differs += run.usage->differs;
    sum.cached_prompt_tokens += run.usage->cached_prompt_tokens;
  }
  for (const auto& [subject, usage] : by_subject) {
    if (report.records.find_subject(subject) == nullptr) continue;
    const std::string& label = label_of(report, subject);
    const bool is_sound = usage.without_usage == 0 && usage.differs == 0;
    std::string text = fmt::format("{} answered {}", label, plural(usage.requests, "request"));
    text += usage.without_usage == 0
                ? ", each with its own count of tokens"
                : fmt::format(", {} without a count: there the pieces of the stream are counted",
                              format_count(usage.without_usage));
    if (usage.checked > 0) {
      text += fmt::format("; the model's tokenizer finds another count for {} of {}",
                          format_count(usage.differs), format_count(usage.checked));
    }
    findings.push_back({is_sound ? Level::kOk : Level::kWarning, "Server's counts", text + "."});
    if (usage.cached_prompt_tokens > 0) {
      findings.push_back(
          {Level::kWarning, "Prefix cache",
           fmt::format(
               "{} found {} of these prompts in its prefix cache. Every repetition has prompts "
               "of its own; restart the server, or switch its cache off.",
               label, plural(usage.cached_prompt_tokens, "token"))});
    }
  }
}

/// A generator that is late sends another load than the one asked for.
void add_lateness(std::vector<Finding>& findings, const RunReport& report) {
  double worst_ms = 0;
  double share = 0;
  bool any = false;
  for (const Summary& summary : report.summaries) {
    if (!summary.lateness_p99_ms) continue;
    any = true;
    worst_ms = std::max(worst_ms, *summary.lateness_p99_ms);
    share = std::max(share, summary.generator_processor_share.value_or(0));
  }
  if (!any) return;
  const bool punctual = worst_ms < kPunctualMs;
  findings.push_back(
      {punctual ? Level::kOk : Level::kWarning, "Load generator",
       fmt::format(
           "99 % of the requests were sent within {} of when they were due; it took {} of a "
           "processor. Latencies count from when they were due.{}",
           format_duration_ms(worst_ms), format_percent(share),
           punctual ? "" : " It was late: the machine is too busy to generate this load.")});
}

/// Greedy outputs, request by request: the same prompt gave the same tokens, or not. Those that
/// always did are told together.
void add_agreement(std::vector<Finding>& findings, const RunReport& report) {
  std::string same;
  std::string same_as;
  for (const OutputAgreement& agreement : report.agreements) {
    const std::string& label = label_of(report, agreement.subject);
    const std::string& baseline = label_of(report, agreement.baseline);
    if (agreement.identical == agreement.compared) {
      same += (same.empty() ? "" : ", ") + label;
      same_as = baseline;
      continue;
    }
    findings.push_back(
        {agreement.fraction() < 0.5 ? Level::kNote : Level::kOk, "Same output",
         fmt::format(
             "{} of {} gave the same tokens in {} as in {} ({}). Engines round differently, "
             "and near ties may fall either way.",
             format_count(agreement.identical), plural(agreement.compared, "request"), label,
             baseline, format_percent(agreement.fraction()))});
  }
  if (!same.empty()) {
    findings.push_back(
        {Level::kOk, "Same output",
         fmt::format("Every request gave the same tokens in {} as in {}.", same, same_as)});
  }
}

/// Idle subjects share the machine with the one being measured; they have to be quiet.
void add_neighbours(std::vector<Finding>& findings, const RunReport& report) {
  double used_s = 0;
  double seconds = 0;
  for (const RunRecord& run : report.records.runs) {
    if (!run.others_processor_s) continue;
    used_s += *run.others_processor_s;
    seconds += static_cast<double>(run.end_ns - run.start_ns) * 1e-9;
  }
  if (seconds <= 0) return;
  const double share = used_s / seconds;
  const bool quiet = share < 0.02;
  findings.push_back(
      {quiet ? Level::kOk : Level::kWarning, "Neighbours",
       fmt::format("While one subject was measured the others used {} of a processor{}.",
                   format_percent(share), quiet ? "" : "; they were not idle")});
}

}  // namespace

std::vector<Finding> find_findings(const RunReport& report) {
  std::vector<Finding> findings;
  findings.push_back(repetitions_finding(report));
  findings.push_back(intervals_finding(report));
  add_failures(findings, report);
  findings.push_back(canary_finding(report));
  add_gpu_clocks(findings, report);
  findings.push_back(length_finding(report));
  if (auto noise = noise_finding(report)) findings.push_back(std::move(*noise));
  add_agreement(findings, report);
  add_neighbours(findings, report);
  add_usage(findings, report);
  add_lateness(findings, report);
  add_plausibility(findings, report);
  for (const std::string& note : report.records.notes) {
    findings.push_back({Level::kWarning, "Records", note});
  }
  // What needs attention first; the order within a level is the order above.
  std::stable_sort(findings.begin(), findings.end(),
                   [](const Finding& a, const Finding& b) { return a.level > b.level; });
  return findings;
}

}  // namespace iol::report
