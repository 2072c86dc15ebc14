// The ladder as a page shows it: sentence, tiles, tables, pictures.
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "report/cells.h"
#include "report/format.h"
#include "report/headline.h"
#include "report/ladder.h"
#include "report/sources.h"
#include "report/study_claims.h"

namespace iol::report {
namespace {

std::string p50_of(const Summary* summary, const char* metric) {
  const MetricSummary* found = summary == nullptr ? nullptr : summary->find(metric);
  return found == nullptr ? std::string(kAbsent) : format_duration_ms(found->distribution.p50);
}

std::string p99_of(const Summary* summary, const char* metric) {
  const MetricSummary* found = summary == nullptr ? nullptr : summary->find(metric);
  return found == nullptr ? std::string(kAbsent) : format_duration_ms(found->distribution.p99);
}

/// "a", "a and b", "a, b and c".
std::string joined(const std::vector<std::string>& items) {
  std::string text;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) text += i + 1 == items.size() ? " and " : ", ";
    text += items[i];
  }
  return text;
}

std::string without_plus(const std::string& label) {
  return label.starts_with("+ ") ? label.substr(2) : label;
}

Prose sentence_of(const Ladder& ladder) {
  const Rung& first = ladder.rungs.front();
  const Rung& last = ladder.rungs.back();
  Prose prose;
  const Comparison* total = last.total_gain();
  if (total == nullptr) {
    prose.push_back({"The first and the last rung have no load in common; there is no total."});
    return prose;
  }
  prose.push_back({fmt::format("With {} under way, ", streams_text(ladder.streams))});
  const bool is_load = last.under_load != nullptr;
  prose.push_back({fmt::format("the whole ladder {} {} {} {}",
                               is_load ? "writes" : "answers a request", format_gain(total->gain),
                               is_load ? "the tokens of" : "as fast as", first.record->label),
                   true});
  prose.push_back({fmt::format(" ({})", gain_interval_text(*total))});
  const Rung* best = nullptr;
  std::vector<std::string> useless;
  for (const Rung& rung : ladder.rungs) {
    if (rung.verdict == RungVerdict::kNoDifference || rung.verdict == RungVerdict::kSlower) {
      useless.push_back(without_plus(rung.record->label));
    }
    if (rung.gain() == nullptr) continue;
    if (best == nullptr || rung.gain()->gain > best->gain()->gain) best = &rung;
  }
  if (best != nullptr) {
    prose.push_back({fmt::format("; the largest step is {} ({})", without_plus(best->record->label),
                                 format_gain(best->gain()->gain))});
  }
  if (!useless.empty()) {
    prose.push_back({"; "});
    prose.push_back({fmt::format("{} did not help here", joined(useless)), true});
  }
  prose.push_back({"."});
  return prose;
}

std::vector<Tile> tiles_of(const RunReport& report, const Ladder& ladder) {
  const Rung& first = ladder.rungs.front();
  const Rung& last = ladder.rungs.back();
  std::vector<Tile> tiles;
  if (const auto* gain = last.total_throughput_gain) {
    tiles.push_back({format_gain(gain->gain),
                     fmt::format("tokens/s with {}", streams_text(ladder.streams)),
                     gain_interval_text(*gain)});
  }
  if (const auto* gain = last.total_latency_gain) {
    tiles.push_back(
        {format_gain(gain->gain), "request latency, one stream", gain_interval_text(*gain)});
  }
  if (last.cost_index) {
    tiles.push_back({format_number(*last.cost_index), "cost index",
                     fmt::format("{} is 100, at one price per hour", first.record->label)});
  }
  const Cell quality = quality_cell(report, last.subject->name);
  if (quality.text != kAbsent) {
    tiles.push_back({quality.text, "perplexity of the last rung", quality.note});
  }
  return tiles;
}

Cell rung_cell(const RunReport& report, const Rung& rung) {
  Cell cell = text_cell(rung.record->label, rung.record->change);
  cell.subject = index_of(report, rung.subject->name);
  return cell;
}

Cell gained_cell(std::string text, std::string note, const Comparison* gain) {
  Cell cell = text_cell(std::move(text), std::move(note));
  if (gain != nullptr) set_gain_badge(cell, *gain);
  return cell;
}

/// What the rung did, in words: what is not established is never called a gain.
Cell verdict_cell(const Rung& rung) {
  Cell cell = text_cell(std::string(rung_verdict_text(rung.verdict)));
  if (rung.verdict == RungVerdict::kNoDifference) cell.note = "the interval of its gain includes 1";
  if (rung.verdict == RungVerdict::kSlower) cell.note = "the interval of its gain lies below 1";
  if (rung.verdict == RungVerdict::kUnknown) cell.note = "too few pairs of runs";
  return cell;
}

/// With a link to the rows that it comes from, where there are any.
Cell linked(Cell cell, const RunReport& report, const Summary* summary) {
  if (summary != nullptr) cell.link = source_id(report, *summary);
  return cell;
}

/// Under load: tokens/s, their gain since the start, latencies, goodput.
std::vector<Cell> load_cells(const RunReport& report, const Rung& rung) {
  const Summary* load = rung.under_load;
  const auto* total = rung.total_throughput_gain;
  const auto both = [&](const char* metric) {
    return linked(text_cell(p50_of(load, metric), p99_of(load, metric)), report, load);
  };
  const auto rate = load == nullptr ? std::nullopt : load->output_throughput_tok_s;
  const auto goodput = load == nullptr ? std::nullopt : load->goodput_req_s;
  return {linked(gained_cell(format_or_absent(rate, format_number), "", rung.throughput_gain),
                 report, load),
          text_cell(total == nullptr ? std::string(kAbsent) : format_gain(total->gain)),
          both("request_latency"), both("time_to_first_token"),
          text_cell(format_or_absent(goodput, format_number))};
}

Table speed_table(const RunReport& report, const Ladder& ladder) {
  Table table;
  table.caption = fmt::format(
      "The ladder: one variable changes from rung to rung; × is the gain over the rung before, "
      "with its 95 % interval. Every rung of iol has {} for keys and values, room for {} of the "
      "longest requests in a contiguous, unquantized cache; PyTorch's batches are of that size.",
      format_bytes(ladder.record->kv_cache_bytes), ladder.record->kv_sequences);
  const bool has_load = std::ranges::any_of(ladder.rungs, &Rung::under_load);
  table.columns = {{"Rung", "", false}, {"Verdict", "", false}};
  if (has_load) {
    const std::string many = streams_text(ladder.streams);
    table.columns.insert(table.columns.end(), {{"Tokens/s", many},
                                               {"Since the start", "tokens/s"},
                                               {"Request latency", many + ", p50\u00a0·\u00a0p99"},
                                               {"First token", many + ", p50\u00a0·\u00a0p99"},
                                               {"Goodput", "requests/s"}});
  }
  table.columns.push_back({"Request latency", "one stream, p50"});
  for (const Rung& rung : ladder.rungs) {
    Row row;
    row.cells = {rung_cell(report, rung), verdict_cell(rung)};
    if (has_load) std::ranges::move(load_cells(report, rung), std::back_inserter(row.cells));
    const Summary* one = rung.one_stream;
    row.cells.push_back(
        linked(gained_cell(p50_of(one, "request_latency"), "", rung.latency_gain), report, one));
    row.highlighted = &rung == &ladder.rungs.back();
    table.rows.push_back(std::move(row));
  }
  return table;
}

/// Absent power is said with its reason, never shown as 0.
Cell power_cell(const Summary* load) {
  Cell cell = text_cell(std::string(kAbsent));
  if (load == nullptr) return cell;
  if (load->resources.power_mean_w) {
    cell.text = format_number(*load->resources.power_mean_w) + " W";
    if (load->energy_per_output_token_j) {
      cell.note = format_number(*load->energy_per_output_token_j) + " J per token";
    }
  } else {
    cell.note = "not measured";
  }
  return cell;
}

Cell cost_cell(const Rung& rung) {
  if (!rung.usd_per_million) return text_cell(std::string(kAbsent), "no price");
  return text_cell(fmt::format("{} USD", format_number(*rung.usd_per_million)));
}

Table price_table(const RunReport& report, const Ladder& ladder) {
  Table table;
  table.caption =
      "What each rung takes: memory, the machine, money, quality. The cost index is 100 / gain in "
      "tokens/s over the first rung, at one price per hour; a price gives USD (--usd-per-hour, or "
      "iol cost --record).";
  table.columns = {{"Rung", "", false},
                   {"Memory", "highest, reserved"},
                   {"Sequences", "in a step"},
                   {"KV cache", "tokens per sequence"},
                   {"Of the limit", "one stream, load"},
                   {"Power", "mean, energy"},
                   {"Cost index", ""},
                   {"Cost", "per million tokens"},
                   {"Quality", "perplexity"}};
  const auto count = [](double value) { return fmt::format("{:.1f}", value); };
  const auto whole = [](double value) { return fmt::format("{:.0f}", value); };
  for (const Rung& rung : ladder.rungs) {
    const Summary* load = rung.under_load != nullptr ? rung.under_load : rung.one_stream;
    const Resources& resources = load->resources;
    const auto limit = rung.one_stream == nullptr ? std::nullopt : rung.one_stream->limit_fraction;
    Row row;
    row.cells = {rung_cell(report, rung),
                 text_cell(format_or_absent(resources.memory_peak_bytes, format_bytes),
                           resources.memory_reserved_bytes
                               ? format_bytes(*resources.memory_reserved_bytes) + " reserved"
                               : "not known what it reserves"),
                 text_cell(format_or_absent(load->running_mean, count)),
                 text_cell(format_or_absent(load->kv_tokens_per_sequence, whole)),
                 text_cell(format_or_absent(limit, format_percent),
                           rung.under_load == nullptr
                               ? ""
                               : format_or_absent(load->limit_fraction, format_percent)),
                 power_cell(load),
                 text_cell(format_or_absent(rung.cost_index, format_number)),
                 cost_cell(rung),
                 quality_cell(report, rung.subject->name)};
    row.cells[0].note.clear();
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table claims_table(const RunReport& report, const Ladder& ladder) {
  Table table;
  table.caption =
      "The study's own claims, each against this run. Its money is computed again by iol cost "
      "--study.";
  table.columns = {{"Claim", "", false},
                   {"Claimed", "", false},
                   {"Measured here", "", false},
                   {"Why they differ", "", false}};
  for (const StudyClaim& claim : study_claims(report, ladder)) {
    table.rows.push_back({{text_cell(claim.claim), text_cell(claim.claimed),
                           text_cell(claim.measured), text_cell(claim.why)},
                          false});
  }
  return table;
}

/// One bar per rung, with its gain over the rung before written at its end.
std::optional<Chart> ladder_chart(const Ladder& ladder, Chart chart, const std::string& unit,
                                  const std::function<std::optional<double>(const Rung&)>& value,
                                  const Comparison* Rung::*gain) {
  Json labels = Json::array();
  Json values = Json::array();
  Json notes = Json::array();
  for (const Rung& rung : ladder.rungs) {
    const auto number = value(rung);
    if (!number) continue;
    const Comparison* compared = rung.*gain;
    const std::string note = compared == nullptr ? "" : format_gain(compared->gain);
    chart.description += fmt::format("; {} {}{}", rung.record->label, format_number(*number),
                                     note.empty() ? "" : " (" + note + ")");
    labels.push_back(rung.record->label);
    values.push_back(*number);
    notes.push_back(format_number(*number) + (note.empty() ? "" : "  " + note));
  }
  if (values.size() < 2) return std::nullopt;
  chart.description += ".";
  chart.data = {{"type", "ladder"},
                {"x_title", unit},
                {"y_title", ""},
                {"categories", std::move(labels)},
                {"notes", std::move(notes)},
                {"series", {{{"label", unit}, {"subject", 0}, {"values", std::move(values)}}}}};
  return chart;
}

}  // namespace

void add_ladder(RunSection& section, const RunReport& report, const Ladder& ladder,
                const std::string& chart_prefix) {
  section.sentence = sentence_of(ladder);
  section.tiles = tiles_of(report, ladder);
  section.headline = speed_table(report, ladder);
  section.ladder = {price_table(report, ladder), claims_table(report, ladder)};
  const std::string many = streams_text(ladder.streams);
  auto rate = ladder_chart(
      ladder,
      {chart_prefix + "ladder-throughput", "Tokens/s with " + many,
       "Output tokens per second of each rung, and its gain over the rung before", Json()},
      "tokens/s, longer is better",
      [](const Rung& rung) {
        return rung.under_load != nullptr ? rung.under_load->output_throughput_tok_s : std::nullopt;
      },
      &Rung::throughput_gain);
  auto latency = ladder_chart(
      ladder,
      {chart_prefix + "ladder-latency", "Request latency, one stream",
       "Median request latency in ms of each rung, and its gain over the rung before", Json()},
      "ms, shorter is better",
      [](const Rung& rung) -> std::optional<double> {
        const MetricSummary* found =
            rung.one_stream == nullptr ? nullptr : rung.one_stream->find("request_latency");
        if (found == nullptr) return std::nullopt;
        return found->distribution.p50;
      },
      &Rung::latency_gain);
  for (auto* chart : {&rate, &latency}) {
    if (*chart) section.ladder_charts.push_back(std::move(**chart));
  }
}

}  // namespace iol::report
