#include "report/markdown.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "report/format.h"

namespace iol::report {
namespace {

std::string cell_text(const Cell& cell) {
  std::string text = escape_markdown(cell.text);
  if (!cell.badge.empty()) {
    text += (text.empty() ? "" : " ") + fmt::format("**{}**", escape_markdown(cell.badge));
    if (!cell.badge_note.empty()) text += " " + escape_markdown(cell.badge_note);
  }
  if (!cell.note.empty()) {
    text += (text.empty() ? "" : " ") + fmt::format("({})", escape_markdown(cell.note));
  }
  return text;
}

std::string column_title(const Column& column) {
  if (column.hint.empty()) return escape_markdown(column.title);
  return fmt::format("{}, {}", escape_markdown(column.title), escape_markdown(column.hint));
}

std::string render_table(const Table& table) {
  if (table.empty()) return "";
  std::string text = escape_markdown(table.caption) + "\n\n|";
  for (const Column& column : table.columns) text += " " + column_title(column) + " |";
  text += "\n|";
  for (const Column& column : table.columns) text += column.numeric ? " ---: |" : " --- |";
  text += "\n";
  for (const Row& row : table.rows) {
    text += "|";
    for (const Cell& cell : row.cells) text += " " + cell_text(cell) + " |";
    text += "\n";
  }
  return text + "\n";
}

std::string render_prose(const Prose& prose) {
  std::string text;
  for (const Span& span : prose) {
    const std::string escaped = escape_markdown(span.text);
    text += span.strong ? "**" + escaped + "**" : escaped;
  }
  return text;
}

/// A fenced block whose fence is longer than any run of backticks inside.
std::string render_code(const std::string& code) {
  std::size_t longest = 2;
  std::size_t current = 0;
  for (const char c : code) {
    current = c == '`' ? current + 1 : 0;
    longest = std::max(longest, current);
  }
  const std::string fence(longest + 1, '`');
  std::string one_line = code;
  std::replace(one_line.begin(), one_line.end(), '\n', ' ');
  return fence + "\n" + one_line + "\n" + fence + "\n\n";
}

/// A ladder's picture where no script draws it: a bar of text per rung.
std::string render_bars(const Chart& chart) {
  constexpr double kLongestBar = 40;
  const Json& labels = chart.data.at("categories");
  const Json& notes = chart.data.at("notes");
  const auto values = chart.data.at("series").front().at("values").get<std::vector<double>>();
  const double most = *std::max_element(values.begin(), values.end());
  std::string text;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto length = most > 0 ? std::lround(values[i] / most * kLongestBar) : 0L;
    std::string bar;
    for (long n = 0; n < std::max(length, 1L); ++n) bar += "█";
    std::string label = labels[i].get<std::string>();
    // Nothing of a record may end the block.
    std::replace_if(
        label.begin(), label.end(), [](char c) { return c == '`' || c == '\n' || c == '\r'; }, ' ');
    text += fmt::format("{:<24} {} {}\n", label, bar, notes[i].get<std::string>());
  }
  return escape_markdown(chart.title) + ", " +
         escape_markdown(chart.data.at("x_title").get<std::string>()) + ":\n\n```\n" + text +
         "```\n\n";
}

const char* level_text(Level level) {
  switch (level) {
    case Level::kOk:
      return "";
    case Level::kNote:
      return "Note: ";
    case Level::kWarning:
      return "**Warning:** ";
  }
  return "";
}

std::string render_section(const RunSection& run, bool with_heading) {
  std::string text;
  if (with_heading) text += fmt::format("# {}\n\n", escape_markdown(run.heading));
  text += render_prose(run.sentence) + "\n\n";
  if (!run.context.empty()) text += escape_markdown(run.context) + "\n\n";
  text += render_table(run.headline);
  for (const Chart& chart : run.ladder_charts) text += render_bars(chart);
  for (const Table& table : run.ladder) text += render_table(table);
  text += "## How sure are we?\n\n";
  for (const Finding& finding : run.findings) {
    text += fmt::format("- {}{}: {}\n", level_text(finding.level), escape_markdown(finding.title),
                        escape_markdown(finding.text));
  }
  text += "\n" + render_table(run.repeatability) + render_table(run.not_measured);
  text += "## Details\n\n";
  for (const Table& table : run.details) text += render_table(table);
  if (!run.comparisons.empty()) text += "## Comparisons\n\n" + render_table(run.comparisons);
  if (!run.sources.empty()) text += "## Records\n\n" + render_table(run.sources);
  text += "## Settings\n\n" + render_table(run.settings);
  text += "## Environment\n\n" + render_table(run.environment);
  if (!run.command.empty()) text += "The run:\n\n" + render_code(run.command);
  return text;
}

}  // namespace

std::string render_markdown(const Document& document) {
  std::string text = fmt::format("# {}\n\n", escape_markdown(document.title));
  const bool several = document.runs.size() > 1;
  for (const RunSection& run : document.runs) text += render_section(run, several);
  text += "## Glossary\n\n" + render_table(document.glossary);
  text +=
      "## Regenerate this report\n\nReports are made from `records.jsonl` alone, on any "
      "machine:\n\n";
  for (const std::string& command : document.regenerate) text += render_code(command);
  text += fmt::format("Written by {}.\n", escape_markdown(document.generated_by));
  return text;
}

}  // namespace iol::report
