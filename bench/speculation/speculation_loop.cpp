#include "bench/speculation/speculation_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <utility>

#include "base/clock.h"

namespace iol::bench {
namespace {

std::string kind_of(const StepRecord& step, bool is_behind_drafts) {
  return fmt::format("{}{}{}", step.num_prefill_tokens > 0 ? "prompts" : "decodes",
                     step.num_draft_tokens > 0 ? ", with drafts" : "",
                     is_behind_drafts ? ", behind drafts" : "");
}

}  // namespace

SpeculationResult run_loop(SpeculationSubject& subject, const SpeculationWorkload& workload,
                           int num_output_tokens, int num_streams, std::size_t first,
                           std::size_t count) {
  Engine& engine = *subject.engine;
  std::atomic<std::size_t> next{0};
  std::atomic<std::int64_t> num_tokens{0};
  std::function<void()> send = [&] {
    const std::size_t i = next.fetch_add(1);
    if (i >= count) return;
    const std::size_t which = (first + i) % workload.prompts.size();
    const int length = workload.lengths.empty() ? num_output_tokens : workload.lengths[which];
    Request request;
    request.prompt_tokens = workload.prompts[which];
    request.speculates = subject.speculates;
    request.sampling.max_tokens = num_output_tokens;
    request.sampling.ignore_eos = true;
    request.sampling.temperature = workload.temperature;
    engine.submit(std::move(request), [&, length, has = 0](const TokenEvent& event) mutable {
      if (event.token && has < length) num_tokens.fetch_add(1);
      if (event.token && ++has == length) engine.cancel(event.request);
      if (event.finish_reason) send();
    });
  };
  double predicted_ns = 0;
  double drafting_ns = 0;
  double depths = 0;
  std::int64_t num_decodes = 0;
  std::int64_t num_steps = 0;
  bool was_drafted = false;
  engine.on_step([&](const StepRecord& step) {
    num_decodes += step.num_decode_tokens;
    ++num_steps;
    depths += step.draft_depth;
    subject.steps[kind_of(step, was_drafted)].add(step);
    was_drafted = step.num_draft_tokens > 0;
    if (step.num_decode_tokens == 0) return;
    predicted_ns += step.predicted_speedup * static_cast<double>(step.duration_ns);
    drafting_ns += static_cast<double>(step.duration_ns);
  });
  const EngineStats before = engine.stats();
  const auto start_ns = now_ns();
  for (int i = 0; i < num_streams; ++i) send();
  engine.drain();
  const double seconds = static_cast<double>(now_ns() - start_ns) * 1e-9;
  engine.on_step({});
  const EngineStats after = engine.stats();
  const auto drafts = static_cast<double>(after.num_draft_tokens - before.num_draft_tokens);
  const auto accepted =
      static_cast<double>(after.num_accepted_draft_tokens - before.num_accepted_draft_tokens);
  SpeculationResult result;
  result.tokens_per_second = static_cast<double>(num_tokens) / seconds;
  result.tokens_per_step =
      1 + accepted / static_cast<double>(std::max<std::int64_t>(num_decodes, 1));
  result.accepted_share = drafts > 0 ? accepted / drafts : 0;
  result.mean_depth = depths / static_cast<double>(std::max<std::int64_t>(num_steps, 1));
  result.predicted = drafting_ns > 0 ? predicted_ns / drafting_ns : 1;
  return result;
}

}  // namespace iol::bench
