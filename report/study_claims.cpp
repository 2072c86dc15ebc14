#include "report/study_claims.h"

#include <fmt/format.h>

#include "report/format.h"
#include "report/headline.h"

namespace iol::report {
namespace {

// The study's numbers: its cost index after each lever, and its one table of a whole system.
constexpr double kIndexQuantized = 38.5;
constexpr double kIndexInFlight = 28.6;
constexpr double kIndexPaged = 21.7;
constexpr double kLatencyBeforeMs = 627.9;
constexpr double kLatencyAfterMs = 260.3;
constexpr double kThroughputBefore = 864;
constexpr double kThroughputAfter = 2723;

std::string not_measured(const char* what) { return fmt::format("{} was not measured", what); }

std::string gain_text(const Comparison* gain) {
  if (gain == nullptr) return not_measured("the rung");
  return fmt::format("{} ({})", format_gain(gain->gain), gain_interval_text(*gain));
}

/// "cost index 38.5 → 28.6: 1.35×": a step of the study's index, as the gain it stands for.
std::string index_step(double before, double after) {
  return fmt::format("cost index {:g} → {:g}: {}", before, after, format_gain(before / after));
}

std::string latency_of(const Summary* summary) {
  const MetricSummary* found = summary == nullptr ? nullptr : summary->find("request_latency");
  return found == nullptr ? std::string(kAbsent) : format_duration_ms(found->distribution.p50);
}

std::string rate_of(const Summary* summary) {
  if (summary == nullptr) return std::string(kAbsent);
  return format_or_absent(summary->output_throughput_tok_s, format_number);
}

std::string memory_of(const Rung& rung) {
  if (rung.under_load == nullptr) return std::string(kAbsent);
  return format_or_absent(rung.under_load->resources.memory_peak_bytes, format_bytes);
}

StudyClaim weights_memory(const Ladder& ladder) {
  StudyClaim claim{"FP8 or INT8 weights: memory", "about −50 %", "", ""};
  const Rung* rung = ladder.find("quantized_weights");
  const Rung* before = rung == nullptr ? nullptr : ladder.before(*rung);
  if (before == nullptr || !rung->subject->weights_bytes || !before->subject->weights_bytes) {
    claim.measured = not_measured("the memory of the weights");
    return claim;
  }
  const double after_bytes = *rung->subject->weights_bytes;
  const double before_bytes = *before->subject->weights_bytes;
  claim.measured =
      fmt::format("{:+.0f} %: {} → {} of weights", (after_bytes / before_bytes - 1) * 100,
                  format_bytes(before_bytes), format_bytes(after_bytes));
  claim.why =
      "The layers halve; embedding and output projection stay as they are, and weigh the more the "
      "smaller the model is. Keys and values are not in it.";
  return claim;
}

StudyClaim weights_speed(const Ladder& ladder) {
  StudyClaim claim{"FP8 or INT8 weights: cost", index_step(100, kIndexQuantized), "", ""};
  const Rung* rung = ladder.find("quantized_weights");
  claim.measured = gain_text(rung == nullptr ? nullptr : rung->throughput_gain);
  claim.why =
      "Half the bytes give at most twice the speed of a decode that memory limits; more has to "
      "come "
      "from faster arithmetic, where the processor has it. The study's is Llama-2-70B on GPUs and "
      "comes before batching, here after.";
  return claim;
}

StudyClaim weights_quality(const Ladder& ladder) {
  StudyClaim claim{"FP8 or INT8 weights: quality", "no measurable loss of perplexity", "", ""};
  const Rung* rung = ladder.find("quantized_weights");
  const QualityRecord* quality = rung == nullptr ? nullptr : rung->quality;
  if (quality == nullptr || !quality->perplexity_ratio) {
    claim.measured = not_measured("quality");
    return claim;
  }
  claim.measured = fmt::format("perplexity {:+.2f} %", (*quality->perplexity_ratio - 1) * 100);
  if (const auto& interval = quality->perplexity_ratio_ci95) {
    claim.measured +=
        fmt::format(" ({:+.2f} to {:+.2f})", (interval->low - 1) * 100, (interval->high - 1) * 100);
    claim.why = interval->contains(1)
                    ? "The interval includes 0: no loss was seen on this text."
                    : "It can be measured: the same windows are scored by both models, so that "
                      "the text's own noise cancels.";
  }
  if (quality->kl_divergence_nats) {
    claim.measured += fmt::format(", KL {:.2g} nats", *quality->kl_divergence_nats);
  }
  return claim;
}

StudyClaim in_flight(const Ladder& ladder) {
  StudyClaim claim{"In-flight batching", index_step(kIndexQuantized, kIndexInFlight), "", ""};
  const Rung* rung = ladder.find("in_flight_batching");
  claim.measured = gain_text(rung == nullptr ? nullptr : rung->throughput_gain);
  claim.why =
      "A static batch runs until its longest request has ended: what that wastes is decided by how "
      "much the output lengths of the traffic differ, not by the engine.";
  return claim;
}

StudyClaim paged_speed(const Ladder& ladder) {
  StudyClaim claim{"Paged KV cache: cost", index_step(kIndexInFlight, kIndexPaged), "", ""};
  const Rung* rung = ladder.find("paged_kv_cache");
  claim.measured = gain_text(rung == nullptr ? nullptr : rung->throughput_gain);
  if (rung != nullptr && rung->under_load != nullptr && ladder.before(*rung) != nullptr) {
    const Summary* before = ladder.before(*rung)->under_load;
    if (rung->under_load->running_mean && before != nullptr && before->running_mean) {
      claim.measured += fmt::format("; {:.1f} → {:.1f} sequences in a step", *before->running_mean,
                                    *rung->under_load->running_mean);
    }
  }
  claim.why =
      "Room alone makes nothing faster: it lets more sequences share a step, which pays as far as "
      "a step with more rows costs less than two steps.";
  return claim;
}

StudyClaim paged_memory(const Ladder& ladder) {
  StudyClaim claim{"Paged KV cache: memory", "60 to 80 % of the KV memory freed", "", ""};
  const Rung* rung = ladder.find("paged_kv_cache");
  const Rung* before = rung == nullptr ? nullptr : ladder.before(*rung);
  const auto tokens = [](const Rung* of) {
    return of != nullptr && of->under_load != nullptr ? of->under_load->kv_tokens_per_sequence
                                                      : std::optional<double>();
  };
  if (!tokens(rung) || !tokens(before)) {
    claim.measured = not_measured("the cache in use");
    return claim;
  }
  claim.measured =
      fmt::format("{:.0f} %: {:.0f} → {:.0f} tokens reserved for a sequence",
                  (1 - *tokens(rung) / *tokens(before)) * 100, *tokens(before), *tokens(rung));
  claim.why =
      "A contiguous cache reserves prompt and allowed output of every request: what is freed is "
      "the distance between what clients allow and what they use.";
  return claim;
}

StudyClaim speculation(const Ladder& ladder) {
  StudyClaim claim{"Speculative decoding", "2 to 3 times on generation", "", ""};
  const Rung* rung = ladder.find("speculation");
  if (rung == nullptr) {
    claim.measured = not_measured("speculation");
    claim.why = "The ladder has no such rung here.";
    return claim;
  }
  claim.measured = fmt::format("one stream {}; {} {}", gain_text(rung->latency_gain),
                               streams_text(ladder.streams), gain_text(rung->throughput_gain));
  claim.why =
      "2 to 3 times take a target that memory limits, a draft some twenty times smaller and 4 of 5 "
      "drafts accepted. Here the draft is near the target in size, and the more streams there are, "
      "the less arithmetic is idle to verify with; the depth is chosen for what pays, down to "
      "none.";
  return claim;
}

std::string conditions(const RunReport& report) {
  return fmt::format(
      "The study: TinyLlama-1.1B, about 100 tokens in, 200 out, its \"optimized engine\" being "
      "PyTorch under another name. Here: {}, other lengths, and an engine.",
      heading_of(report));
}

std::vector<StudyClaim> whole_system(const RunReport& report, const Ladder& ladder) {
  const Rung& first = ladder.rungs.front();
  const Rung& last = ladder.rungs.back();
  StudyClaim latency{"All levers: latency of a request",
                     fmt::format("{:g} → {:g} ms: {}", kLatencyBeforeMs, kLatencyAfterMs,
                                 format_gain(kLatencyBeforeMs / kLatencyAfterMs)),
                     fmt::format("{} → {}: {}", latency_of(first.one_stream),
                                 latency_of(last.one_stream), gain_text(last.total_latency_gain)),
                     conditions(report)};
  StudyClaim rate{"All levers: tokens/s",
                  fmt::format("{:g} → {:g}: {}", kThroughputBefore, kThroughputAfter,
                              format_gain(kThroughputAfter / kThroughputBefore)),
                  fmt::format("{} → {}: {}", rate_of(first.under_load), rate_of(last.under_load),
                              gain_text(last.total_throughput_gain)),
                  fmt::format("As above; with {} here.", streams_text(ladder.streams))};
  StudyClaim memory{"All levers: memory", "equal",
                    fmt::format("{} → {}, highest resident", memory_of(first), memory_of(last)),
                    "Of the whole process: PyTorch's own libraries and work space are in it."};
  StudyClaim cost{"All levers: cost index", fmt::format("100 → {:g}", kIndexPaged),
                  fmt::format("100 → {}", format_or_absent(last.cost_index, format_number)),
                  "At one price per hour the index is 100 / gain in tokens/s, and nothing else."};
  return {latency, rate, memory, cost};
}

}  // namespace

std::vector<StudyClaim> study_claims(const RunReport& report, const Ladder& ladder) {
  std::vector<StudyClaim> claims = {
      in_flight(ladder),      paged_speed(ladder),     paged_memory(ladder), weights_speed(ladder),
      weights_memory(ladder), weights_quality(ladder), speculation(ladder)};
  for (StudyClaim& claim : whole_system(report, ladder)) claims.push_back(std::move(claim));
  return claims;
}

}  // namespace iol::report
