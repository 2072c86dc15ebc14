#include "report/details.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "report/cells.h"
#include "report/format.h"
#include "report/headline.h"
#include "report/load_tables.h"
#include "report/lookup.h"
#include "report/sources.h"

namespace iol::report {
namespace {

std::string scenario_text(const std::string& scenario, std::int64_t concurrency) {
  if (concurrency == 0) return scenario;
  return fmt::format("{}, {}", scenario, streams_text(concurrency));
}

/// Subject with the scenario below it: one column less on a narrow screen.
Cell subject_and_scenario_cell(const RunReport& report, const Summary& summary) {
  Cell cell = subject_cell(report, summary.subject);
  cell.link = source_id(report, summary);
  cell.note = scenario_text(summary.scenario, summary.concurrency);
  return cell;
}

/// "p50 / p90 / p99" of a duration.
Cell percentiles_cell(const Summary& summary, const char* metric) {
  const MetricSummary* found = summary.find(metric);
  if (found == nullptr) return text_cell(std::string(kAbsent));
  const Distribution& d = found->distribution;
  Cell cell = text_cell(format_duration_ms(d.p50));
  cell.note = format_duration_ms(d.p90) + " · " + format_duration_ms(d.p99);
  return cell;
}

/// Removes the columns in which nothing was measured.
void drop_absent_columns(Table& table) {
  for (std::size_t column = table.columns.size(); column-- > 0;) {
    const bool absent = std::all_of(table.rows.begin(), table.rows.end(), [&](const Row& row) {
      return row.cells[column].text == kAbsent && row.cells[column].note.empty();
    });
    if (!absent) continue;
    const auto offset = static_cast<std::ptrdiff_t>(column);
    table.columns.erase(table.columns.begin() + offset);
    for (Row& row : table.rows) row.cells.erase(row.cells.begin() + offset);
  }
}

Table latency_table(const RunReport& report) {
  Table table;
  table.caption = "Latency: the median, and below it p90 · p99 (nearest rank over all requests).";
  table.columns = {{"Subject", "scenario", false},
                   {"First token", "ttft"},
                   {"Per token", "tpot"},
                   {"Gap between tokens", "itl"},
                   {"Whole request", "e2e"}};
  std::vector<const Summary*> ordered;
  for (const Summary& summary : report.summaries) ordered.push_back(&summary);
  std::stable_sort(ordered.begin(), ordered.end(), [](const Summary* a, const Summary* b) {
    return std::tie(a->scenario, a->concurrency) < std::tie(b->scenario, b->concurrency);
  });
  for (const Summary* summary : ordered) {
    Row row;
    row.cells = {subject_and_scenario_cell(report, *summary),
                 percentiles_cell(*summary, "time_to_first_token"),
                 percentiles_cell(*summary, "inter_token_latency"),
                 percentiles_cell(*summary, "itl"), percentiles_cell(*summary, "request_latency")};
    table.rows.push_back(std::move(row));
  }
  return table;
}

Cell throughput_cell(const RunReport& report, const Summary* summary) {
  if (summary == nullptr) return text_cell(std::string(kAbsent));
  Cell cell = text_cell(format_or_absent(summary->output_throughput_tok_s, format_number));
  cell.link = source_id(report, *summary);
  const Comparison* gain =
      report.find_comparison(report.records.subjects.front().name, summary->subject,
                             summary->scenario, summary->concurrency, "output_throughput_tok_s");
  if (gain != nullptr) set_gain_badge(cell, *gain);
  if (summary->limit_fraction) cell.note = format_percent(*summary->limit_fraction) + " of limit";
  if (summary->runs_with_length_off > 0) {
    cell.note += (cell.note.empty() ? "" : ", ") + std::string("output length off by over 10 %");
  }
  return cell;
}

Table throughput_table(const RunReport& report) {
  Table table;
  std::set<std::int64_t> levels;
  for (const Summary& summary : report.summaries) {
    if (summary.scenario == "throughput") levels.insert(summary.concurrency);
  }
  if (levels.empty()) return table;
  table.caption = fmt::format(
      "Throughput: output tokens/s by the number of streams at once; × is the gain over {}, the "
      "percentage is of what the memory bandwidth allows a decode step.",
      report.records.subjects.front().label);
  table.columns = {{"Streams", "at once"}};
  for (const SubjectRecord& subject : report.records.subjects) {
    table.columns.push_back({subject.label, "tokens/s"});
  }
  for (const std::int64_t level : levels) {
    Row row;
    row.cells = {text_cell(std::to_string(level))};
    for (const SubjectRecord& subject : report.records.subjects) {
      row.cells.push_back(
          throughput_cell(report, report.find_summary(subject.name, "throughput", level)));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table resources_table(const RunReport& report) {
  Table table;
  table.caption = "Memory and energy.";
  table.columns = {{"Subject", "scenario", false},
                   {"Memory", "peak"},
                   {"Memory", "reserved"},
                   {"Power", "mean"},
                   {"Energy", "per token"}};
  for (const Summary& summary : report.summaries) {
    const Resources& resources = summary.resources;
    if (!resources.memory_peak_bytes && !resources.power_mean_w &&
        !resources.memory_reserved_bytes) {
      continue;
    }
    const auto watts = [](double value) { return format_number(value) + " W"; };
    const auto joules = [](double value) { return format_number(value) + " J"; };
    Row row;
    row.cells = {subject_and_scenario_cell(report, summary),
                 text_cell(format_or_absent(resources.memory_peak_bytes, format_bytes)),
                 text_cell(format_or_absent(resources.memory_reserved_bytes, format_bytes)),
                 text_cell(format_or_absent(resources.power_mean_w, watts)),
                 text_cell(format_or_absent(summary.energy_per_output_token_j, joules))};
    table.rows.push_back(std::move(row));
  }
  return table;
}

template <class Format>
Cell with_interval(const std::optional<double>& value, const std::optional<Interval>& interval,
                   const Format& format) {
  Cell cell = text_cell(format_or_absent(value, format));
  if (interval) cell.note = fmt::format("{} – {}", format(interval->low), format(interval->high));
  return cell;
}

Table quality_table(const RunReport& report) {
  Table table;
  table.caption =
      "Quality of the same configurations; below each figure its 95 % interval (bootstrap over "
      "windows).";
  table.columns = {{"Subject", "", false},
                   {"Perplexity", ""},
                   {"Its ratio", "to unquantized"},
                   {"KL divergence", "nats"},
                   {"Same top token", ""},
                   {"Text", "", false},
                   {"Tokens", ""},
                   {"Reference", "", false}};
  const auto digits = [](double value) { return fmt::format("{:.4f}", value); };
  const auto nats = [](double value) { return fmt::format("{:.2g}", value); };
  const auto share = [](double value) { return fmt::format("{:.2f} %", value * 100); };
  for (const QualityRecord& quality : report.records.qualities) {
    Cell subject = text_cell(quality.subject);
    if (report.records.find_subject(quality.subject) != nullptr) {
      subject = subject_cell(report, quality.subject);
    }
    Row row;
    row.cells = {subject,
                 with_interval(quality.perplexity, quality.perplexity_ci95, digits),
                 with_interval(quality.perplexity_ratio, quality.perplexity_ratio_ci95, digits),
                 with_interval(quality.kl_divergence_nats, quality.kl_divergence_ci95_nats, nats),
                 with_interval(quality.top1_agreement, quality.top1_agreement_ci95, share),
                 text_cell(quality.text),
                 text_cell(format_count(quality.tokens)),
                 text_cell(quality.reference.empty() ? std::string(kAbsent) : quality.reference)};
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::string metric_text(const std::string& metric) {
  if (metric == "inter_token_latency") return "time per token";
  if (metric == "time_to_first_token") return "time to first token";
  if (metric == "request_latency") return "request latency";
  return "output tokens/s";
}

Table comparisons_table(const RunReport& report) {
  Table table;
  table.caption =
      "Every comparison, pair by pair over interleaved repetitions. A gain above 1 is "
      "better whatever the metric; one whose interval includes 1 is not established.";
  table.columns = {{"Scenario", "", false}, {"Metric", "", false}, {"Subject", "", false},
                   {"Against", "", false},  {"Gain", "median"},    {"Interval", "of the gain"},
                   {"Pairs", ""},           {"Marked", "pairs"}};
  for (const Comparison& comparison : report.comparisons) {
    Row row;
    Cell gain;
    set_gain_badge(gain, comparison);
    gain.badge_note.clear();  // the next column has it
    row.cells = {text_cell(scenario_text(comparison.scenario, comparison.concurrency)),
                 text_cell(metric_text(comparison.metric)),
                 subject_cell(report, comparison.subject),
                 subject_cell(report, comparison.baseline),
                 gain,
                 text_cell(comparison.gain_interval ? format_interval(*comparison.gain_interval)
                                                    : std::string(kAbsent)),
                 text_cell(std::to_string(comparison.ratio.pairs)),
                 text_cell(std::to_string(comparison.marked_pairs))};
    table.rows.push_back(std::move(row));
  }
  return table;
}

/// One row per setting, one column per subject; rows in which the subjects differ are highlighted.
Table settings_table(const RunReport& report) {
  Table table;
  table.caption = "Settings of each subject; what differs between them stands out.";
  table.columns = {{"Setting", "", false}};
  std::vector<std::string> names;
  std::vector<std::map<std::string, std::string>> values;
  for (const SubjectRecord& subject : report.records.subjects) {
    table.columns.push_back({subject.label, "", false});
    values.emplace_back();
    for (auto& [name, value] : flatten(subject.fields)) {
      if (name == "name" || name == "label") continue;
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
      values.back()[name] = value;
    }
  }
  for (const std::string& name : names) {
    Row row;
    row.cells.push_back(text_cell(humanize_field_name(name)));
    std::set<std::string> distinct;
    for (const auto& of_subject : values) {
      const auto value = of_subject.find(name);
      const std::string text = value == of_subject.end() ? std::string(kAbsent) : value->second;
      distinct.insert(text);
      row.cells.push_back(text_cell(text));
    }
    row.highlighted = distinct.size() > 1;
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table environment_table(const RunReport& report) {
  Table table;
  table.caption = "What is needed to repeat this run.";
  table.columns = {{"Item", "", false}, {"Value", "", false}};
  table.rows.push_back({{text_cell("Run"), text_cell(report.records.run_id)}, false});
  for (const auto& [name, value] : flatten(report.records.environment.fields)) {
    if (name == "not_measured" || name.empty()) continue;
    table.rows.push_back({{text_cell(humanize_field_name(name)), text_cell(value)}, false});
  }
  return table;
}

}  // namespace

void add_details(RunSection& section, const RunReport& report) {
  for (Table table : {throughput_table(report), sweep_table(report), load_table(report),
                      latency_table(report), resources_table(report), quality_table(report)}) {
    if (table.empty()) continue;
    drop_absent_columns(table);
    section.details.push_back(std::move(table));
  }
  section.comparisons = comparisons_table(report);
  section.sources = sources_table(report);
  section.settings = settings_table(report);
  section.environment = environment_table(report);
  section.command = report.records.environment.command;
  for (const SubjectRecord& subject : report.records.subjects) {
    section.subjects.push_back(subject.label);
  }
}

Table glossary() {
  Table table;
  table.caption = "What the words mean.";
  table.columns = {{"Term", "", false}, {"Meaning", "", false}};
  const std::vector<std::pair<const char*, const char*>> entries = {
      {"Time to first token (ttft)",
       "From the moment a request was due to start to its first token. Waiting for a free slot "
       "counts."},
      {"Time per token (tpot)",
       "(Request latency − time to first token) / (output tokens − 1), per request. It does not "
       "exist for a request of one token."},
      {"Gap between tokens (itl)",
       "The time between consecutive pieces of output, divided by the tokens in the later piece."},
      {"Request latency (e2e)", "From the moment a request was due to start to its last token."},
      {"Output tokens/s",
       "Output tokens of successful requests / (last token − first due start), over all "
       "repetitions. Tokens are counted by the engine, never re-tokenized."},
      {"Streams", "Requests kept in flight at once: when one ends the next begins."},
      {"p50, p90, p99",
       "Percentiles by nearest rank: the smallest measured value with at least that share of all "
       "values at or below it."},
      {"Gain (×)",
       "How many times better than the baseline: repetition by repetition, neighbours in time, "
       "then the median. Above 1 is better for every metric."},
      {"Interval",
       "Where the gain lies with 95 % confidence: the wider of a seeded bootstrap over the pairs "
       "and the exact interval of the median. If it includes 1, no difference is established."},
      {"A/A",
       "A subject compared with itself, one repetition against the next. It shows how large a "
       "difference pure noise can make."},
      {"Canary",
       "The memory bandwidth measured just before and after every run. A run is marked when it "
       "moved by more than 10 %."},
      {"Of the machine's limit",
       "The bytes a decode step must read (weights once, KV cache of every stream once) / the "
       "measured bandwidth gives the shortest possible step; that / the measured time per token."},
      {"Perplexity", "exp of the mean loss per token over a text; lower is better."},
      {"KL divergence, same top token",
       "How far the next-token distribution is from the reference's, and how often both rank the "
       "same token first."},
      {"kB, MB, GB", "Powers of 1000."},
  };
  for (const auto& [term, meaning] : entries) {
    table.rows.push_back({{text_cell(term), text_cell(meaning)}, false});
  }
  return table;
}

}  // namespace iol::report
