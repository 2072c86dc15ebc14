#include "report/ladder.h"

#include <algorithm>

#include "report/headline.h"
#include "report/study_claims.h"

namespace iol::report {
namespace {

constexpr const char* kThroughput = "output_throughput_tok_s";
constexpr const char* kLatency = "request_latency";
constexpr double kConfidence = 0.95;  // an interval of less decides nothing

const Comparison* gain_of(const RunReport& report, const Rung& base, const Summary* summary,
                          const char* metric) {
  if (summary == nullptr) return nullptr;
  return report.find_comparison(base.subject->name, summary->subject, summary->scenario,
                                summary->concurrency, metric);
}

RungVerdict verdict_of(const Rung& rung) {
  const auto* gain = rung.gain();
  if (gain == nullptr || !gain->gain_interval) return RungVerdict::kUnknown;
  if (gain->ratio.confidence < kConfidence) return RungVerdict::kUnknown;
  if (gain->significant()) return gain->gain > 1 ? RungVerdict::kHelps : RungVerdict::kSlower;
  const auto* one = rung.latency_gain;
  if (one != nullptr && one->significant() && one->gain > 1) return RungVerdict::kHelpsOne;
  return RungVerdict::kNoDifference;
}

std::optional<double> cost_of(const RunReport& report, const std::string& subject) {
  for (const Json& cost : report.records.costs) {
    if (cost.value("subject", "") != subject) continue;
    const auto usd = cost.find("usd_per_million_output_tokens");
    if (usd != cost.end() && usd->is_number()) return usd->get<double>();
  }
  return std::nullopt;
}

void hold_against(Rung& rung, const RunReport& report, const Rung& first, const Rung& before) {
  rung.throughput_gain = gain_of(report, before, rung.under_load, kThroughput);
  rung.latency_gain = gain_of(report, before, rung.one_stream, kLatency);
  rung.total_throughput_gain = gain_of(report, first, rung.under_load, kThroughput);
  rung.total_latency_gain = gain_of(report, first, rung.one_stream, kLatency);
  if (rung.total_throughput_gain != nullptr) {
    rung.cost_index = 100 / rung.total_throughput_gain->gain;
  }
  rung.verdict = verdict_of(rung);
}

}  // namespace

std::string_view rung_verdict_text(RungVerdict verdict) {
  switch (verdict) {
    case RungVerdict::kFirst:
      return "where it starts";
    case RungVerdict::kHelps:
      return "helps";
    case RungVerdict::kHelpsOne:
      return "helps one stream, not the load";
    case RungVerdict::kNoDifference:
      return "does not help here";
    case RungVerdict::kSlower:
      return "slower";
    case RungVerdict::kUnknown:
      return "can't be told";
  }
  return "can't be told";
}

const Rung* Ladder::find(std::string_view lever) const {
  for (const Rung& rung : rungs) {
    if (rung.record->lever == lever) return &rung;
  }
  return nullptr;
}

const Rung* Ladder::before(const Rung& rung) const {
  return &rung == rungs.data() ? nullptr : &rung - 1;
}

std::optional<Ladder> find_ladder(const RunReport& report) {
  const auto& record = report.records.environment.ladder;
  if (!record) return std::nullopt;
  Ladder ladder;
  ladder.record = &*record;
  const Focus focus = find_focus(report);
  ladder.streams = focus.throughput_concurrency.value_or(focus.latency_concurrency);
  for (const RungRecord& entry : record->rungs) {
    Rung rung;
    rung.record = &entry;
    rung.subject = report.records.find_subject(entry.subject);
    if (rung.subject == nullptr) continue;
    if (focus.latency_scenario == "latency") {
      rung.one_stream = focus.latency(report, entry.subject);
    }
    rung.under_load = focus.throughput(report, entry.subject);
    if (rung.one_stream == nullptr && rung.under_load == nullptr) continue;
    for (const QualityRecord& quality : report.records.qualities) {
      if (quality.subject == entry.subject) rung.quality = &quality;
    }
    rung.usd_per_million = cost_of(report, entry.subject);
    if (ladder.rungs.empty()) {
      rung.verdict = RungVerdict::kFirst;
      rung.cost_index = 100;
    } else {
      hold_against(rung, report, ladder.rungs.front(), ladder.rungs.back());
    }
    ladder.rungs.push_back(rung);
  }
  if (ladder.rungs.size() < 2) return std::nullopt;
  return ladder;
}

Json ladder_json(const RunReport& report, const Ladder& ladder) {
  const auto gain_json = [](const Comparison* gain) -> Json {
    if (gain == nullptr) return nullptr;
    const auto& interval = gain->gain_interval;
    return {{"gain", gain->gain},
            {"interval", interval ? Json{interval->low, interval->high} : Json(nullptr)}};
  };
  const auto number = [](const std::optional<double>& value) {
    return value ? Json(*value) : Json(nullptr);
  };
  Json rungs = Json::array();
  for (const Rung& rung : ladder.rungs) {
    rungs.push_back({{"subject", rung.record->subject},
                     {"label", rung.record->label},
                     {"change", rung.record->change},
                     {"lever", rung.record->lever},
                     {"throughput_over_rung_before", gain_json(rung.throughput_gain)},
                     {"latency_over_rung_before", gain_json(rung.latency_gain)},
                     {"throughput_over_first", gain_json(rung.total_throughput_gain)},
                     {"latency_over_first", gain_json(rung.total_latency_gain)},
                     {"cost_index", number(rung.cost_index)},
                     {"usd_per_million_output_tokens", number(rung.usd_per_million)},
                     {"verdict", rung_verdict_text(rung.verdict)}});
  }
  Json claims = Json::array();
  for (const StudyClaim& claim : study_claims(report, ladder)) {
    claims.push_back({{"claim", claim.claim},
                      {"claimed", claim.claimed},
                      {"measured", claim.measured},
                      {"why_they_differ", claim.why}});
  }
  return {{"kv_cache_bytes", ladder.record->kv_cache_bytes},
          {"kv_sequences", ladder.record->kv_sequences},
          {"rungs", std::move(rungs)},
          {"study_claims", std::move(claims)}};
}

}  // namespace iol::report
