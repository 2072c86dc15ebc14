#pragma once
// The opening of a report: the one sentence and the one table that answer the question.
#include <cstdint>
#include <optional>
#include <string>

#include "report/document.h"
#include "report/summary.h"

namespace iol::report {

/// What a report looks at first.
struct Focus {
  const SubjectRecord* baseline = nullptr;  // the first subject
  const SubjectRecord* hero = nullptr;      // the last `iol` subject, or the last of all
  /// The scenario of one stream, and the one with the most streams that the hero ran.
  std::string latency_scenario;
  std::int64_t latency_concurrency = 1;
  std::optional<std::int64_t> throughput_concurrency;  // of scenario "throughput"

  const Summary* latency(const RunReport& report, const std::string& subject) const;
  const Summary* throughput(const RunReport& report, const std::string& subject) const;
};

Focus find_focus(const RunReport& report);

/// "books-16m on AMD EPYC 9V74, 2 threads".
std::string heading_of(const RunReport& report);

/// Fills heading, sentence, context, tiles and headline table.
void add_headline(RunSection& section, const RunReport& report);

/// "one stream", "16 streams".
std::string streams_text(std::int64_t concurrency);
/// The same of a closed loop; the name of an open one: "poisson 5 req/s".
std::string load_text(const std::string& scenario, std::int64_t concurrency);

/// The label of a subject by its name.
const std::string& label_of(const RunReport& report, const std::string& subject);
/// The position of a subject among the records' subjects; picks its colour.
int index_of(const RunReport& report, const std::string& subject);

/// "2.90–3.41", or that there was but one pair to compare.
std::string gain_interval_text(const Comparison& comparison);
/// The badge of a gain: "3.15×", good above 1, bad below, neutral when the interval includes 1.
void set_gain_badge(Cell& cell, const Comparison& comparison);

/// Quality of a subject as a cell: perplexity, with divergence and agreement as its note.
Cell quality_cell(const RunReport& report, const std::string& subject);

}  // namespace iol::report
