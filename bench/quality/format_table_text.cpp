// The table of formats as JSON, text and Markdown.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "bench/environment.h"
#include "bench/quality/format_table.h"
#include "report/statistics.h"

namespace iol::bench {
namespace {

using nlohmann::json;

double coefficient_of_variation(const std::vector<double>& values) {
  const auto distribution = report::describe(values);
  return distribution->std / distribution->mean;
}

/// The share of the limit that decoding reached: bytes that must be read, at the speed of the
/// canary before them, against the time it took. Median over the rounds.
double limit_fraction(const FormatRow& row) {
  std::vector<double> fractions;
  for (std::size_t i = 0; i < row.decode_tok_s.size(); ++i)
    fractions.push_back(row.bytes_per_token * row.decode_tok_s[i] / row.read_bytes_per_s[i]);
  return report::median(fractions);
}

json row_json(const FormatRow& row) {
  json object = {{"format", row.format.name},
                 {"weights_bytes", row.weights_bytes},
                 {"bits_per_weight", row.bits_per_weight},
                 {"decode_tok_s", report::median(row.decode_tok_s)},
                 {"decode_tok_s_rounds", row.decode_tok_s},
                 {"decode_variation", coefficient_of_variation(row.decode_tok_s)},
                 {"canary_read_bytes_per_s", report::median(row.read_bytes_per_s)},
                 {"bytes_per_token", row.bytes_per_token},
                 {"limit_fraction", limit_fraction(row)},
                 {"quality", nullptr}};
  if (row.quality) object["quality"] = quality_json(*row.quality);
  return object;
}

std::string percent(double ratio) { return fmt::format("{:+.2f}", (ratio - 1) * 100); }

std::string change_text(const json& quality) {
  const json& ratio = quality.at("perplexity_ratio");
  if (ratio.is_null()) return "-";
  const json& interval = quality.at("perplexity_ratio_ci95");
  std::string text = percent(ratio.get<double>()) + " %";
  if (!interval.is_null()) {
    text += fmt::format(" [{}, {}]", percent(interval[0].get<double>()),
                        percent(interval[1].get<double>()));
  }
  return text;
}

std::vector<std::string> cells_of(const json& row, bool has_quality) {
  std::vector<std::string> cells = {
      row.at("format").get<std::string>(),
      fmt::format("{:.1f}", row.at("weights_bytes").get<double>() / 1e6),
      fmt::format("{:.2f}", row.at("bits_per_weight").get<double>()),
      fmt::format("{:.1f}", row.at("decode_tok_s").get<double>()),
      fmt::format("{:.1f}", 100 * row.at("decode_variation").get<double>()),
      fmt::format("{:.1f}", row.at("canary_read_bytes_per_s").get<double>() / 1e9),
      fmt::format("{:.0f}", 100 * row.at("limit_fraction").get<double>())};
  if (!has_quality) return cells;
  const json& quality = row.at("quality");
  const json& divergence = quality.at("kl_divergence_nats");
  const json& agreement = quality.at("top1_agreement");
  cells.push_back(fmt::format("{:.4f}", quality.at("perplexity").get<double>()));
  cells.push_back(change_text(quality));
  cells.push_back(divergence.is_null() ? "-" : fmt::format("{:.6f}", divergence.get<double>()));
  cells.push_back(agreement.is_null() ? "-" : fmt::format("{:.2f}", 100 * agreement.get<double>()));
  return cells;
}

/// Characters, not bytes, where all are ASCII.
std::string line_of(const std::vector<std::string>& cells, const std::vector<std::size_t>& widths,
                    bool markdown) {
  std::string line = markdown ? "|" : "";
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const auto width = static_cast<int>(widths[i]);
    const std::string cell =
        i == 0 ? fmt::format("{:<{}}", cells[i], width) : fmt::format("{:>{}}", cells[i], width);
    line += markdown ? " " + cell + " |" : (i == 0 ? "" : "  ") + cell;
  }
  return line + "\n";
}

std::string description(const json& table, bool markdown) {
  const json& machine = table.at("machine");
  std::string text = fmt::format(
      "{} on {} ({}), {} threads; median of {} rounds, one stream, {} tokens after {}; reading "
      "memory at {:.1f} GB/s",
      table.at("model").get<std::string>(), machine.at("cpu_model").get<std::string>(),
      table.at("isa").get<std::string>(), table.at("threads").get<int>(),
      table.at("rounds").get<int>(), table.at("output_tokens").get<int>(),
      table.at("prompt_tokens").get<int>(),
      table.at("canary_read_bytes_per_s").get<double>() / 1e9);
  if (table.at("synthetic").get<bool>()) text += "; random weights, so no quality";
  return markdown ? "\n" + text + ".\n" : text + "\n";
}

}  // namespace

json format_table_json(const FormatTable& table) {
  json rows = json::array();
  std::vector<double> readings;
  for (const auto& row : table.rows) {
    rows.push_back(row_json(row));
    readings.insert(readings.end(), row.read_bytes_per_s.begin(), row.read_bytes_per_s.end());
  }
  return {{"model", table.model},
          {"synthetic", table.synthetic},
          {"text", table.text.empty() ? json(nullptr) : json(table.text)},
          {"machine", machine_record()},
          {"isa", table.isa},
          {"threads", table.num_threads},
          {"rounds", table.num_rounds},
          {"prompt_tokens", table.prompt_tokens},
          {"output_tokens", table.output_tokens},
          {"canary_read_bytes_per_s", report::median(readings)},
          {"formats", std::move(rows)}};
}

std::string format_table_text(const json& table, bool markdown) {
  const bool has_quality = !table.at("formats").at(0).at("quality").is_null();
  std::vector<std::vector<std::string>> lines{{"format", "weights MB", "bits/weight",
                                               "decode tok/s", "+/- %", "canary GB/s",
                                               "% of limit"}};
  if (has_quality) {
    for (const char* name :
         {"perplexity", "against none, 95 % interval", "KL nats", "same top %"}) {
      lines[0].emplace_back(name);
    }
  }
  for (const auto& row : table.at("formats")) lines.push_back(cells_of(row, has_quality));
  std::vector<std::size_t> widths(lines[0].size());
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  std::string text = markdown ? "" : description(table, markdown);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    text += line_of(lines[i], widths, markdown);
    if (i > 0 || !markdown) continue;
    text += "|";
    for (std::size_t column = 0; column < widths.size(); ++column)
      text += column == 0 ? " --- |" : " ---: |";
    text += "\n";
  }
  if (markdown) text += description(table, markdown);
  return text;
}

}  // namespace iol::bench
