#include "workload/advice.h"

#include <fmt/format.h>

#include <algorithm>

namespace iol {
namespace {

using Verdict = Advice::Verdict;

constexpr double kWorthwhile = 1.10;  // a factor below this is "little"
constexpr double kAlone = 1.5;        // fewer in flight on average: hardly ever a batch
constexpr double kManyInFlight = 16;  // more: decoding is no longer limited by reading the weights
constexpr std::int64_t kLongPrompt = 2048;
constexpr std::int64_t kBlockTokens = 16;  // of the engine's paged cache

std::string percent(double share) { return fmt::format("{:.0f} %", share * 100); }

Verdict judged(double factor) { return factor >= kWorthwhile ? Verdict::kHelps : Verdict::kLittle; }

Advice in_flight_batching(const Workload& workload) {
  const std::string waste = fmt::format(
      "static batches of {} in order of arrival spend {} of their steps on sequences that have "
      "ended",
      workload.options.static_batch, percent(workload.static_batch_waste));
  if (workload.concurrency && workload.concurrency->mean < kAlone) {
    return {"in-flight batching", Verdict::kLittle, std::nullopt,
            fmt::format("only {:.1f} requests are in flight on average; there is hardly a batch",
                        workload.concurrency->mean)};
  }
  const double factor = 1 / std::max(1 - workload.static_batch_waste, 1e-9);
  return {"in-flight batching", judged(factor), factor, waste + "; decode throughput at most"};
}

Advice paged_cache(const Workload& workload) {
  const double mean = workload.total.mean;
  // On average half a block at the end of each sequence stays empty.
  const double paged = mean + 0.5 * static_cast<double>(kBlockTokens);
  const double factor = static_cast<double>(workload.total.max) / std::max(paged, 1.0);
  return {
      "paged KV cache", judged(factor), factor,
      fmt::format("the longest request takes {} tokens, the mean {:.0f}: a contiguous cache, which "
                  "reserves the longest for each, leaves {} empty; sequences in the same memory",
                  workload.total.max, mean, percent(workload.contiguous_waste))};
}

Advice prefix_cache(const Workload& workload) {
  if (!workload.prefixes) {
    return {"prefix cache", Verdict::kUnknown, std::nullopt,
            "the trace says nothing about shared prefixes (it has no block ids)"};
  }
  const double shared = workload.prefixes->shared;
  const double factor = 1 / std::max(1 - shared, 1e-9);
  return {
      "prefix cache", judged(factor), factor,
      fmt::format("{} of the prompt's blocks of {} tokens came before; prefill work, with a cache "
                  "that holds all {:.0f} different blocks",
                  percent(shared), kTraceBlockTokens, workload.prefixes->different)};
}

Advice chunked_prefill(const Workload& workload) {
  const bool is_long = workload.input.p95 > kLongPrompt;
  const bool is_alone = workload.concurrency && workload.concurrency->mean < kAlone;
  return {"chunked prefill", is_long && !is_alone ? Verdict::kHelps : Verdict::kLittle,
          std::nullopt,
          fmt::format("5 % of the prompts have more than {} tokens, the longest {}; unchunked, the "
                      "others' next token waits for all of it",
                      workload.input.p95, workload.input.max)};
}

/// Bytes of a decode step: the weights once, the cache of all in flight once.
double step_bytes(double weights, double kv_per_token, double tokens_in_flight) {
  return weights + kv_per_token * tokens_in_flight;
}

/// Tokens in the cache during a step: the mean in flight, or one mean request without times.
double tokens_in_flight(const Workload& workload) {
  return workload.concurrency ? std::max(workload.concurrency->mean_tokens, workload.total.mean)
                              : workload.total.mean;
}

Advice quantized_weights(const Workload& workload, const std::optional<ModelBytes>& model) {
  if (!model) {
    return {"quantized weights", Verdict::kUnknown, std::nullopt,
            "name a --model: the gain depends on its weights beside the cache"};
  }
  const double tokens = tokens_in_flight(workload);
  const double plain = step_bytes(model->weights, model->kv_per_token, tokens);
  const double int8 = plain / step_bytes(model->weights_int8, model->kv_per_token, tokens);
  const double int4 = plain / step_bytes(model->weights_int4, model->kv_per_token, tokens);
  return {"quantized weights", judged(int8), int8,
          fmt::format("{}: a decode step reads {:.1f} MB of weights and {:.1f} MB of cache ({:.0f} "
                      "tokens in flight); int8 weights make it this many times less, int4 {:.2f}",
                      model->name, model->weights / 1e6, model->kv_per_token * tokens / 1e6, tokens,
                      int4)};
}

Advice quantized_cache(const Workload& workload, const std::optional<ModelBytes>& model) {
  if (!model) {
    return {"quantized KV cache", Verdict::kUnknown, std::nullopt,
            "name a --model: the gain depends on its cache beside the weights"};
  }
  const double tokens = tokens_in_flight(workload);
  const double factor = step_bytes(model->weights, model->kv_per_token, tokens) /
                        step_bytes(model->weights, model->kv_per_token_int8, tokens);
  return {
      "quantized KV cache", judged(factor), factor,
      fmt::format("int8 keeps {:.2f} times the tokens in the same memory; bytes read by a decode "
                  "step",
                  model->kv_per_token / model->kv_per_token_int8)};
}

Advice speculation(const Workload& workload) {
  if (!workload.concurrency) {
    return {"speculation", Verdict::kUnknown, std::nullopt,
            "without times the requests in flight are unknown; it pays when they are few"};
  }
  const double mean = workload.concurrency->mean;
  if (mean > kManyInFlight) {
    return {
        "speculation", Verdict::kLittle, std::nullopt,
        fmt::format("{:.0f} requests are in flight on average; a batch of that size leaves little "
                    "arithmetic idle to verify drafts with",
                    mean)};
  }
  return {"speculation", Verdict::kHelps, std::nullopt,
          fmt::format("{:.1f} requests are in flight on average, so reading the weights limits "
                      "decoding; how many drafts are accepted no trace can tell: measure it",
                      mean)};
}

}  // namespace

std::string_view verdict_name(Advice::Verdict verdict) {
  switch (verdict) {
    case Verdict::kHelps:
      return "helps";
    case Verdict::kLittle:
      return "little";
    case Verdict::kUnknown:
      return "unknown";
  }
  return "unknown";
}

std::vector<Advice> advise(const Workload& workload, const std::optional<ModelBytes>& model) {
  return {in_flight_batching(workload),
          paged_cache(workload),
          prefix_cache(workload),
          chunked_prefill(workload),
          quantized_weights(workload, model),
          quantized_cache(workload, model),
          speculation(workload)};
}

}  // namespace iol
