#pragma once
// A report as plain data, before it becomes Markdown or HTML. Text here is never escaped: the
// writers do that, so that nothing in a record can become markup.
#include <string>
#include <vector>

#include "report/json_fields.h"

namespace iol::report {

/// Running text with emphasis.
struct Span {
  std::string text;
  bool strong = false;
};
using Prose = std::vector<Span>;

enum class Tone { kNeutral, kGood, kBad, kMuted };

struct Cell {
  std::string text;
  std::string note;        // small, under the text
  std::string badge;       // short and prominent, under the text: a gain
  std::string badge_note;  // beside the badge: its interval
  Tone badge_tone = Tone::kNeutral;
  double bar = -1;   // 0..1 draws a bar of that length under the text
  int subject = -1;  // index of the subject whose colour marks the cell
  std::string link;  // id of the row that says which records the figure is made of
};

struct Column {
  std::string title;
  std::string hint;  // unit or statistic, small
  bool numeric = true;
};

struct Row {
  std::vector<Cell> cells;
  bool highlighted = false;
  std::string id = {};  // what links lead to; letters, digits and '-'
};

struct Table {
  std::string caption;
  std::vector<Column> columns;
  std::vector<Row> rows;
  bool empty() const { return rows.empty(); }
};

/// A number to be seen from across the room.
struct Tile {
  std::string value;
  std::string label;
  std::string note;
};

enum class Level { kOk, kNote, kWarning };

/// One thing to know about how far the numbers can be trusted.
struct Finding {
  Level level = Level::kOk;
  std::string title;
  std::string text;
};

/// A chart: what Chart.js draws, and what a reader hears or prints instead.
struct Chart {
  std::string id;
  std::string title;
  std::string description;  // alternative text: what it shows, with its main numbers
  Json data;                // read by assets/report.js
};

/// The report of one run.
struct RunSection {
  std::string heading;  // model and machine; a report over several runs shows it
  Prose sentence;       // the answer
  std::string context;  // under what conditions, one line
  std::vector<Tile> tiles;
  Table headline;
  std::vector<Chart> ladder_charts;  // of a ladder's rungs; empty for other runs
  std::vector<Table> ladder;
  std::vector<Finding> findings;
  Table not_measured;
  Table repeatability;
  std::vector<Chart> charts;
  std::vector<Table> details;  // latency, throughput, resources, quality
  Table comparisons;           // every pair of subjects, metric and scenario
  Table sources;               // which records the figures are made of
  Table settings;              // of each subject
  Table environment;
  std::string command;                // what ran
  std::vector<std::string> subjects;  // in order; their index picks the colour
};

struct Document {
  std::string title;
  std::string generated_by;  // program and version
  std::vector<RunSection> runs;
  Table glossary;
  std::vector<std::string> regenerate;  // command lines
  std::string regenerate_from = "Reports are made from records.jsonl alone, on any machine:";
  std::string footer = "Every number on this page was measured by the run it describes.";
};

}  // namespace iol::report
