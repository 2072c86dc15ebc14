#pragma once
// The ladder of a run: what each rung gained over the one before, and whether it helped at all.
#include <optional>
#include <string>
#include <vector>

#include "report/document.h"
#include "report/summary.h"

namespace iol::report {

enum class RungVerdict {
  kFirst,         // nothing before it
  kHelps,         // the interval of gain() lies above 1
  kHelpsOne,      // not under load, but for one stream
  kNoDifference,  // the interval includes 1
  kSlower,        // the interval lies below 1
  kUnknown,       // too few pairs for an interval of 95 %, or no measurement
};

/// "helps", "does not help here", ...
std::string_view rung_verdict_text(RungVerdict verdict);

/// One rung; everything it points to belongs to the RunReport.
struct Rung {
  const RungRecord* record = nullptr;
  const SubjectRecord* subject = nullptr;
  const Summary* one_stream = nullptr;
  const Summary* under_load = nullptr;
  // Over the rung before, and over the first; null for the first.
  const Comparison* throughput_gain = nullptr;
  const Comparison* latency_gain = nullptr;  // of request latency, one stream
  const Comparison* total_throughput_gain = nullptr;
  const Comparison* total_latency_gain = nullptr;
  const QualityRecord* quality = nullptr;
  /// 100 / total_throughput_gain: at one price per hour the cost of a token falls as the rate
  /// rises.
  std::optional<double> cost_index;
  std::optional<double> usd_per_million;  // output tokens; of the first offer in the cost records
  RungVerdict verdict = RungVerdict::kUnknown;

  /// What the verdict goes by: under load, or where the run has none, of one stream.
  [[nodiscard]] const Comparison* gain() const {
    return under_load != nullptr ? throughput_gain : latency_gain;
  }
  [[nodiscard]] const Comparison* total_gain() const {
    return under_load != nullptr ? total_throughput_gain : total_latency_gain;
  }
};

struct Ladder {
  const LadderRecord* record = nullptr;
  std::vector<Rung> rungs;   // those that were measured
  std::int64_t streams = 1;  // under load

  /// By its lever; null when there is none.
  [[nodiscard]] const Rung* find(std::string_view lever) const;
  /// The rung before `rung`; null for the first.
  [[nodiscard]] const Rung* before(const Rung& rung) const;
};

/// Nothing when the run was no ladder, or fewer than two rungs have measurements.
std::optional<Ladder> find_ladder(const RunReport& report);

/// Fills sentence, tiles, headline and the ladder's own tables and charts of a section.
void add_ladder(RunSection& section, const RunReport& report, const Ladder& ladder,
                const std::string& chart_prefix);

/// The ladder for summary.json: one object per rung, and the study's claims.
Json ladder_json(const RunReport& report, const Ladder& ladder);

}  // namespace iol::report
