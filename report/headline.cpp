#include "report/headline.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "report/format.h"
#include "report/lookup.h"
#include "report/sources.h"

namespace iol::report {
namespace {

const Comparison* gain_over(const RunReport& report, const Summary* summary,
                            const std::string& baseline, std::string_view metric) {
  if (summary == nullptr) return nullptr;
  return report.find_comparison(baseline, summary->subject, summary->scenario, summary->concurrency,
                                metric);
}

/// "3.15× as fast as X", "no faster than X": a verdict that never says more than its interval.
/// The first one names the interval's confidence.
void append_verdict(Prose& prose, const Comparison& comparison, const std::string& baseline,
                    bool is_first) {
  const std::string gain = format_gain(comparison.gain);
  std::string certainty = "one pair of runs, no interval";
  if (comparison.gain_interval) {
    certainty = format_interval(*comparison.gain_interval);
    if (is_first) {
      certainty =
          fmt::format("{} interval {}", format_percent(comparison.ratio.confidence), certainty);
    }
  }
  if (comparison.gain_interval && !comparison.significant()) {
    prose.push_back({"not measurably faster or slower", true});
    prose.push_back({fmt::format(" than {} ({}, {})", baseline, gain, certainty)});
    return;
  }
  prose.push_back({gain + (comparison.gain >= 1 ? " as fast" : " the speed"), true});
  prose.push_back(
      {fmt::format("{} {} ({})", comparison.gain >= 1 ? " as" : " of", baseline, certainty)});
}

void append_alone(Prose& prose, const Summary& latency, const std::string& label) {
  prose.push_back({label, true});
  prose.push_back({" answers a request in "});
  const MetricSummary* e2e = latency.find("request_latency");
  prose.push_back(
      {e2e ? format_duration_ms(e2e->distribution.p50) : std::string("unknown time"), true});
  prose.push_back({" at the median"});
}

/// ": a request takes 260 ms instead of 628 ms".
void append_latencies(Prose& prose, const Summary& hero, const Summary* baseline) {
  const MetricSummary* after = hero.find("request_latency");
  const MetricSummary* before = baseline != nullptr ? baseline->find("request_latency") : nullptr;
  if (after == nullptr || before == nullptr) return;
  prose.push_back({fmt::format(": a request takes {} instead of {}",
                               format_duration_ms(after->distribution.p50),
                               format_duration_ms(before->distribution.p50))});
}

void append_throughput(Prose& prose, const RunReport& report, const Focus& focus) {
  const Summary* hero = focus.throughput(report, focus.hero->name);
  if (hero == nullptr || !hero->output_throughput_tok_s) return;
  prose.push_back({fmt::format(". With {} it writes ", streams_text(hero->concurrency))});
  prose.push_back({format_number(*hero->output_throughput_tok_s) + " tokens/s", true});
  const Comparison* gain = gain_over(report, hero, focus.baseline->name, "output_throughput_tok_s");
  if (gain != nullptr) {
    prose.push_back(
        {fmt::format(", {} the rate of {}", format_gain(gain->gain), focus.baseline->label)});
  }
}

Prose sentence_of(const RunReport& report, const Focus& focus) {
  Prose prose;
  const Summary* latency = focus.latency(report, focus.hero->name);
  if (latency == nullptr || latency->failed == latency->requests) {
    prose.push_back({fmt::format("No request of {} succeeded; there is nothing to compare",
                                 focus.hero->label)});
    prose.push_back({"."});
    return prose;
  }
  prose.push_back({fmt::format("For {}, ", load_text(latency->scenario, latency->concurrency))});
  bool compared = false;
  for (const SubjectRecord& other : report.records.subjects) {
    const Comparison* gain = gain_over(report, latency, other.name, "request_latency");
    if (gain == nullptr) continue;
    if (!compared) prose.push_back({focus.hero->label + " is "});
    if (compared) prose.push_back({" and "});
    append_verdict(prose, *gain, other.label, !compared);
    compared = true;
  }
  if (compared) {
    append_latencies(prose, *latency, focus.latency(report, focus.baseline->name));
  } else {
    append_alone(prose, *latency, focus.hero->label);
  }
  append_throughput(prose, report, focus);
  prose.push_back({"."});
  return prose;
}

/// "2026-01-31T12:00:00Z" -> "2026-01-31 12:00 UTC"; other forms stay as they are.
std::string readable_date(const std::string& date) {
  const bool is_utc_stamp = date.size() == 20 && date[10] == 'T' && date.back() == 'Z';
  return is_utc_stamp ? date.substr(0, 10) + " " + date.substr(11, 5) + " UTC" : date;
}

/// The GPU that was measured, else the processor.
std::optional<std::string> device_of(const Json& environment) {
  return find_text(environment, {"gpu", "cpu_model", "cpu"});
}

std::string context_of(const RunReport& report, const Focus& focus) {
  std::string text = report.records.subjects.front().model_name;
  if (focus.hero->synthetic) text += " (random weights)";
  const Json& environment = report.records.environment.fields;
  if (const auto device = device_of(environment)) text += (text.empty() ? "" : " · ") + *device;
  auto threads = find_text(focus.hero->fields, {"threads", "num_threads"});
  if (!threads) threads = find_text(environment, {"threads", "num_threads"});
  if (threads && !find_text(environment, {"gpu"}))
    text += fmt::format(" · {} thread{}", *threads, *threads == "1" ? "" : "s");
  const Summary* latency = focus.latency(report, focus.hero->name);
  if (latency != nullptr) {
    const MetricSummary* input = latency->find("input_sequence_length");
    const MetricSummary* output = latency->find("output_sequence_length");
    if (input != nullptr && output != nullptr) {
      text += fmt::format(" · {} tokens in, {} out", format_number(input->distribution.mean),
                          format_number(output->distribution.mean));
    }
    text += fmt::format(" · {} repetition{}", latency->repetitions,
                        latency->repetitions == 1 ? "" : "s");
  }
  if (const auto date = find_text(environment, {"started_at"}))
    text += " · " + readable_date(*date);
  return text;
}

void add_gain_tile(std::vector<Tile>& tiles, const Comparison* gain, const std::string& what) {
  if (gain == nullptr) return;
  tiles.push_back({format_gain(gain->gain), what,
                   gain->gain_interval ? format_interval(*gain->gain_interval) : "one pair only"});
}

std::vector<Tile> tiles_of(const RunReport& report, const Focus& focus) {
  std::vector<Tile> tiles;
  const Summary* latency = focus.latency(report, focus.hero->name);
  const Summary* throughput = focus.throughput(report, focus.hero->name);
  const std::string& baseline = focus.baseline->name;
  if (focus.hero != focus.baseline) {
    add_gain_tile(tiles, gain_over(report, latency, baseline, "request_latency"),
                  "request latency against " + focus.baseline->label);
    add_gain_tile(tiles, gain_over(report, throughput, baseline, "output_throughput_tok_s"),
                  throughput == nullptr
                      ? ""
                      : fmt::format("tokens/s with {}", streams_text(throughput->concurrency)));
  }
  if (latency != nullptr && latency->limit_fraction) {
    tiles.push_back({format_percent(*latency->limit_fraction), "of the machine's limit",
                     *latency->limit_fraction > kPlausibleFraction
                         ? "caches give more than the measured bandwidth"
                         : "bytes a step must read / measured bandwidth"});
  }
  const Cell quality = quality_cell(report, focus.hero->name);
  if (quality.text != kAbsent) tiles.push_back({quality.text, "perplexity", quality.note});
  return tiles;
}

Cell speed_cell(const RunReport& report, const Summary* summary, const std::string& baseline,
                std::string_view gain_metric) {
  Cell cell;
  cell.text = summary == nullptr
                  ? std::string(kAbsent)
                  : format_or_absent(summary->output_throughput_tok_s, format_number);
  if (const Comparison* gain = gain_over(report, summary, baseline, gain_metric)) {
    set_gain_badge(cell, *gain);
  }
  if (summary != nullptr && summary->runs_with_length_off > 0) cell.note = "output length is off";
  if (summary != nullptr) cell.link = source_id(report, *summary);
  return cell;
}

Cell latency_cell(const RunReport& report, const Summary* summary, const std::string& baseline) {
  Cell cell;
  cell.text = kAbsent;
  if (summary == nullptr) return cell;
  cell.link = source_id(report, *summary);
  if (const auto* e2e = summary->find("request_latency")) {
    cell.text = format_duration_ms(e2e->distribution.p50);
  }
  const auto* ttft = summary->find("time_to_first_token");
  const auto* tpot = summary->find("inter_token_latency");
  if (ttft != nullptr) cell.note = format_duration_ms(ttft->distribution.p50) + " to first token";
  if (tpot != nullptr) {
    cell.note += (cell.note.empty() ? "" : ", then ") + format_duration_ms(tpot->distribution.p50) +
                 " per token";
  }
  if (const auto* gain = gain_over(report, summary, baseline, "request_latency")) {
    set_gain_badge(cell, *gain);
  }
  return cell;
}

Cell memory_cell(const RunReport& report, const std::string& subject) {
  std::optional<double> peak;
  std::optional<double> reserved;
  for (const Summary& summary : report.summaries) {
    if (summary.subject != subject) continue;
    const Resources& resources = summary.resources;
    if (resources.memory_peak_bytes)
      peak = std::max(peak.value_or(0), *resources.memory_peak_bytes);
    if (resources.memory_reserved_bytes) {
      reserved = std::max(reserved.value_or(0), *resources.memory_reserved_bytes);
    }
  }
  Cell cell;
  cell.text = format_or_absent(peak, format_bytes);
  if (reserved) cell.note = format_bytes(*reserved) + " reserved";
  return cell;
}

Cell limit_cell(const Summary* summary) {
  Cell cell;
  cell.text = kAbsent;
  if (summary == nullptr || !summary->limit_fraction) return cell;
  cell.text = format_percent(*summary->limit_fraction);
  cell.bar = std::clamp(*summary->limit_fraction, 0.0, 1.0);
  if (summary->decode_floor_ms) {
    cell.note = "limit " + format_duration_ms(*summary->decode_floor_ms) + " per step";
  }
  return cell;
}

constexpr std::ptrdiff_t kManyStreamsColumn = 3;  // left out where the bench had one load alone

Table headline_table(const RunReport& report, const Focus& focus) {
  Table table;
  const std::string many = focus.throughput_concurrency
                               ? streams_text(*focus.throughput_concurrency)
                               : std::string("many streams");
  table.caption = fmt::format(
      "Same model, same prompts, same machine. × is the gain over {}, with its interval below.",
      focus.baseline->label);
  const bool is_one_load = focus.latency_scenario == "throughput" &&
                           focus.throughput_concurrency == focus.latency_concurrency;
  table.columns = {
      {"Engine", "", false},
      {"Request latency",
       load_text(focus.latency_scenario, focus.latency_concurrency) + ", median"},
      {"Tokens/s", load_text(focus.latency_scenario, focus.latency_concurrency)},
      {"Tokens/s", many},
      {"Memory", "peak"},
      {"Of the machine's limit", load_text(focus.latency_scenario, focus.latency_concurrency)},
      {"Quality", "perplexity"}};
  for (const SubjectRecord& subject : report.records.subjects) {
    const Summary* latency = focus.latency(report, subject.name);
    const Summary* throughput = focus.throughput(report, subject.name);
    Row row;
    Cell name;
    name.text = subject.label;
    name.subject = index_of(report, subject.name);
    if (&subject == focus.baseline && report.records.subjects.size() > 1) name.note = "baseline";
    row.cells = {name,
                 latency_cell(report, latency, focus.baseline->name),
                 speed_cell(report, latency, focus.baseline->name, "output_throughput_tok_s"),
                 speed_cell(report, throughput, focus.baseline->name, "output_throughput_tok_s"),
                 memory_cell(report, subject.name),
                 limit_cell(latency),
                 quality_cell(report, subject.name)};
    row.highlighted = &subject == focus.hero;
    if (is_one_load) row.cells.erase(row.cells.begin() + kManyStreamsColumn);
    table.rows.push_back(std::move(row));
  }
  if (is_one_load) table.columns.erase(table.columns.begin() + kManyStreamsColumn);
  return table;
}

}  // namespace

const Summary* Focus::latency(const RunReport& report, const std::string& subject) const {
  return report.find_summary(subject, latency_scenario, latency_concurrency);
}

const Summary* Focus::throughput(const RunReport& report, const std::string& subject) const {
  if (!throughput_concurrency) return nullptr;
  return report.find_summary(subject, "throughput", *throughput_concurrency);
}

Focus find_focus(const RunReport& report) {
  Focus focus;
  const auto& subjects = report.records.subjects;
  focus.baseline = &subjects.front();
  focus.hero = &subjects.back();
  for (const SubjectRecord& subject : subjects) {
    if (subject.kind == "iol") focus.hero = &subject;
  }
  // Without a latency scenario, the one with the fewest streams stands for it.
  const Summary* latency = nullptr;
  for (const Summary& summary : report.summaries) {
    if (summary.scenario == "throughput" && summary.subject == focus.hero->name) {
      focus.throughput_concurrency =
          std::max(focus.throughput_concurrency.value_or(0), summary.concurrency);
    }
    // Closed loops first, of few streams; among those of one the scenario that says so.
    const auto rank = [](const Summary& s) {
      return std::tuple(s.concurrency == 0, s.concurrency, s.scenario != "latency");
    };
    if (latency == nullptr || rank(summary) < rank(*latency)) latency = &summary;
  }
  focus.latency_scenario = latency->scenario;
  focus.latency_concurrency = latency->concurrency;
  return focus;
}

std::string load_text(const std::string& scenario, std::int64_t concurrency) {
  return concurrency == 0 ? scenario : streams_text(concurrency);
}

std::string streams_text(std::int64_t concurrency) {
  return concurrency == 1 ? "one stream" : fmt::format("{} streams", concurrency);
}

const std::string& label_of(const RunReport& report, const std::string& subject) {
  return report.records.find_subject(subject)->label;
}

int index_of(const RunReport& report, const std::string& subject) {
  return static_cast<int>(report.records.find_subject(subject) - report.records.subjects.data());
}

std::string gain_interval_text(const Comparison& comparison) {
  return comparison.gain_interval ? format_interval(*comparison.gain_interval) : "one pair";
}

void set_gain_badge(Cell& cell, const Comparison& comparison) {
  cell.badge = format_gain(comparison.gain);
  cell.badge_note = gain_interval_text(comparison);
  cell.badge_tone = Tone::kNeutral;
  if (comparison.significant()) cell.badge_tone = comparison.gain > 1 ? Tone::kGood : Tone::kBad;
}

Cell quality_cell(const RunReport& report, const std::string& subject) {
  Cell cell;
  cell.text = kAbsent;
  cell.note = "not measured";
  for (const QualityRecord& quality : report.records.qualities) {
    if (quality.reference == subject) cell.note = "the reference";
    if (quality.subject != subject) continue;
    cell.text = format_or_absent(quality.perplexity, format_number);
    cell.note.clear();
    if (quality.perplexity_ratio) {
      cell.note = fmt::format("{:+.2f} %", (*quality.perplexity_ratio - 1) * 100);
      if (const auto& interval = quality.perplexity_ratio_ci95) {
        cell.note += fmt::format(" ({:+.2f} to {:+.2f})", (interval->low - 1) * 100,
                                 (interval->high - 1) * 100);
      }
    }
    if (quality.kl_divergence_nats) {
      cell.note += fmt::format("{}KL {:.2g} nats", cell.note.empty() ? "" : ", ",
                               *quality.kl_divergence_nats);
    }
    if (quality.top1_agreement) {
      cell.note += fmt::format("{}same top token {:.2f} %", cell.note.empty() ? "" : ", ",
                               *quality.top1_agreement * 100);
    }
    return cell;
  }
  for (const OutputAgreement& agreement : report.agreements) {
    if (agreement.subject != subject) continue;
    cell.note = fmt::format("{} of outputs the same as {}'s", format_percent(agreement.fraction()),
                            label_of(report, agreement.baseline));
  }
  return cell;
}

std::string heading_of(const RunReport& report) {
  const Json& environment = report.records.environment.fields;
  std::string text = report.records.subjects.front().model_name;
  if (text.empty()) text = report.records.run_id;
  if (const auto device = device_of(environment)) text += " on " + *device;
  return text;
}

void add_headline(RunSection& section, const RunReport& report) {
  const Focus focus = find_focus(report);
  section.heading = heading_of(report);
  section.sentence = sentence_of(report, focus);
  section.context = context_of(report, focus);
  section.tiles = tiles_of(report, focus);
  section.headline = headline_table(report, focus);
}

}  // namespace iol::report
