#include "report/html.h"

#include <fmt/format.h>

#include <map>

#include "base/error.h"
#include "report/assets.h"
#include "report/format.h"

namespace iol::report {
namespace {

const char* tone_class(Tone tone) {
  switch (tone) {
    case Tone::kGood:
      return "good";
    case Tone::kBad:
      return "bad";
    case Tone::kMuted:
      return "muted";
    case Tone::kNeutral:
      return "neutral";
  }
  return "neutral";
}

std::string cell_content(const Cell& cell) {
  std::string html;
  if (cell.subject >= 0) {
    html += fmt::format("<span class=\"dot s{}\" aria-hidden=\"true\"></span>", cell.subject % 8);
  }
  if (!cell.text.empty() && !cell.link.empty()) {
    html += fmt::format("<a class=\"v\" href=\"#{}\">{}</a>", cell.link, escape_html(cell.text));
  } else if (!cell.text.empty()) {
    html += fmt::format("<span class=\"v\">{}</span>", escape_html(cell.text));
  }
  if (!cell.badge.empty()) {
    html += fmt::format("<span class=\"gain\"><span class=\"badge {}\">{}</span>",
                        tone_class(cell.badge_tone), escape_html(cell.badge));
    if (!cell.badge_note.empty()) {
      html += fmt::format(" <span class=\"range\">{}</span>", escape_html(cell.badge_note));
    }
    html += "</span>";
  }
  if (cell.bar >= 0) {
    html += fmt::format(
        "<span class=\"bar\" aria-hidden=\"true\"><i style=\"width:{:.1f}%\"></i>"
        "</span>",
        cell.bar * 100);
  }
  if (!cell.note.empty()) html += fmt::format("<small>{}</small>", escape_html(cell.note));
  return html;
}

std::string column_label(const Column& column) {
  return column.hint.empty() ? column.title : column.title + ", " + column.hint;
}

/// `style` is a class: "stack" turns into cards on a phone, "plain" only scrolls.
std::string render_table(const Table& table, const char* style) {
  if (table.empty()) return "";
  std::string html = fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\">"
      "<table role=\"table\" class=\"{1}\"><caption>{0}</caption><thead role=\"rowgroup\">"
      "<tr role=\"row\">",
      escape_html(table.caption), style);
  for (const Column& column : table.columns) {
    html += fmt::format("<th role=\"columnheader\" scope=\"col\"{}>{}",
                        column.numeric ? " class=\"n\"" : "", escape_html(column.title));
    if (!column.hint.empty()) html += fmt::format("<small>{}</small>", escape_html(column.hint));
    html += "</th>";
  }
  html += "</tr></thead><tbody role=\"rowgroup\">\n";
  for (const Row& row : table.rows) {
    html += "<tr role=\"row\"";
    if (!row.id.empty()) html += fmt::format(" id=\"{}\"", row.id);
    html += row.highlighted ? " class=\"hl\">" : ">";
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const Column& column = table.columns[i];
      const char* tag = i == 0 ? "th" : "td";
      html += fmt::format("<{} role=\"{}\"{} data-label=\"{}\"{}>{}</{}>", tag,
                          i == 0 ? "rowheader" : "cell", i == 0 ? " scope=\"row\"" : "",
                          escape_html(column_label(column)), column.numeric ? " class=\"n\"" : "",
                          cell_content(row.cells[i]), tag);
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string render_prose(const Prose& prose) {
  std::string html;
  for (const Span& span : prose) {
    const std::string text = escape_html(span.text);
    html += span.strong ? "<strong>" + text + "</strong>" : text;
  }
  return html;
}

std::string render_tiles(const std::vector<Tile>& tiles) {
  if (tiles.empty()) return "";
  std::string html = "<dl class=\"tiles\">";
  for (const Tile& tile : tiles) {
    html += fmt::format("<div><dt>{}</dt><dd>{}</dd><dd class=\"note\">{}</dd></div>",
                        escape_html(tile.label), escape_html(tile.value), escape_html(tile.note));
  }
  return html + "</dl>\n";
}

std::string render_findings(const std::vector<Finding>& findings) {
  std::string html = "<ul class=\"findings\">";
  for (const Finding& finding : findings) {
    const char* level = "ok";
    const char* sign = "✓";
    const char* spoken = "In order: ";
    if (finding.level == Level::kNote) level = "info", sign = "i", spoken = "Note: ";
    if (finding.level == Level::kWarning) level = "warn", sign = "!", spoken = "Warning: ";
    html += fmt::format(
        "<li class=\"{}\"><span class=\"sign\" aria-hidden=\"true\">{}</span><div>"
        "<b><span class=\"sr\">{}</span>{}</b> {}</div></li>",
        level, sign, spoken, escape_html(finding.title), escape_html(finding.text));
  }
  return html + "</ul>\n";
}

std::string render_charts(const std::vector<Chart>& charts) {
  if (charts.empty()) return "";
  std::string html = "<div class=\"charts\">";
  for (const Chart& chart : charts) {
    html += fmt::format(
        "<figure><figcaption>{}</figcaption><div class=\"canvas\"><canvas id=\"{}\" role=\"img\" "
        "aria-label=\"{}\"></canvas></div></figure>\n",
        escape_html(chart.title), escape_html(chart.id), escape_html(chart.description));
  }
  return html +
         "</div><noscript><p>The charts need JavaScript; the tables below hold the same "
         "numbers.</p></noscript>\n";
}

std::string render_fold(const char* summary, const std::string& content) {
  if (content.empty()) return "";
  return fmt::format("<details><summary>{}</summary>{}</details>\n", summary, content);
}

std::string render_code(const std::string& code) {
  return fmt::format("<pre tabindex=\"0\"><code>{}</code></pre>\n", escape_html(code));
}

std::string render_section(const RunSection& run, bool several) {
  std::string html = "<article>\n<section class=\"hero\">";
  if (several) html += fmt::format("<p class=\"run\">{}</p>", escape_html(run.heading));
  html += fmt::format("<p class=\"eyebrow\">{}</p><h1>{}</h1>\n", escape_html(run.context),
                      render_prose(run.sentence));
  html += render_tiles(run.tiles) + render_table(run.headline, "stack headline") + "</section>\n";
  if (!run.ladder.empty()) {
    html += "<section><h2>The ladder</h2>\n" + render_charts(run.ladder_charts);
    for (const Table& table : run.ladder) html += render_table(table, "plain");
    html += "</section>\n";
  }
  html += "<section><h2>How sure are we?</h2>\n" + render_findings(run.findings);
  html += render_table(run.not_measured, "plain");
  html += render_fold("Repeatability of every scenario", render_table(run.repeatability, "plain"));
  html += "</section>\n";
  if (!run.charts.empty()) {
    html += "<section><h2>In pictures</h2>\n" + render_charts(run.charts) + "</section>\n";
  }
  html += "<section><h2>In numbers</h2>\n";
  for (const Table& table : run.details) html += render_table(table, "plain");
  html += render_fold("Every comparison", render_table(run.comparisons, "plain screen"));
  html += "</section>\n";
  if (!run.sources.empty()) {
    html += "<section><h2>Where the figures come from</h2>\n" + render_table(run.sources, "plain") +
            "</section>\n";
  }
  html += "<section><h2>What ran</h2>\n";
  if (!run.command.empty()) html += render_code(run.command);
  html += render_fold("Settings of each subject", render_table(run.settings, "plain diff"));
  html += render_fold("Machine and software", render_table(run.environment, "plain"));
  html += "</section>\n</article>\n";
  return html;
}

/// Replaces every {{name}} once; what is put in is not looked at again.
std::string fill(std::string_view page, const std::map<std::string, std::string>& values) {
  std::string result;
  std::size_t position = 0;
  while (true) {
    const std::size_t open = page.find("{{", position);
    if (open == std::string_view::npos) break;
    const std::size_t close = page.find("}}", open);
    IOL_CHECK(close != std::string_view::npos);
    result += page.substr(position, open - position);
    const auto value = values.find(std::string(page.substr(open + 2, close - open - 2)));
    IOL_CHECK(value != values.end());
    result += value->second;
    position = close + 2;
  }
  result += page.substr(position);
  return result;
}

}  // namespace

std::string embed_json(const Json& json) {
  // ASCII only, and nothing that could end the element or open a comment.
  std::string text = json.dump(-1, ' ', /*ensure_ascii=*/true);
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '<':
        result += "\\u003c";
        break;
      case '>':
        result += "\\u003e";
        break;
      case '&':
        result += "\\u0026";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string render_html(const Document& document) {
  Json charts = Json::object();
  std::string body;
  for (const RunSection& run : document.runs) {
    body += render_section(run, document.runs.size() > 1);
    for (const Chart& chart : run.ladder_charts) charts[chart.id] = chart.data;
    for (const Chart& chart : run.charts) charts[chart.id] = chart.data;
  }
  std::string regenerate;
  for (const std::string& command : document.regenerate) regenerate += render_code(command);
  return fill(kPageTemplate, {{"title", escape_html(document.title)},
                              {"style", std::string(kPageStyle)},
                              {"body", body},
                              {"glossary", render_table(document.glossary, "plain words")},
                              {"regenerate", regenerate},
                              {"regenerate_from", escape_html(document.regenerate_from)},
                              {"footer", escape_html(document.footer)},
                              {"generated_by", escape_html(document.generated_by)},
                              {"chart_data", embed_json(charts)},
                              {"chart_library", std::string(kChartLibrary)},
                              {"script", std::string(kPageScript)}});
}

}  // namespace iol::report
