#include "bench/engine_target.h"

#include "base/clock.h"
#include "base/error.h"

namespace iol::bench {
namespace {

/// Why a request that ended without all of its tokens did.
std::string missing_tokens(const TokenEvent& event, const RequestResult& result) {
  if (*event.finish_reason == FinishReason::kError) {
    return event.error.empty() ? "the step that held it failed" : event.error;
  }
  if (*event.finish_reason == FinishReason::kCancelled) return "cancelled";
  return fmt::format("ended after {} tokens", result.tokens.size());
}

}  // namespace

std::optional<std::string> EngineTarget::send(const WorkloadRequest& wanted, RequestResult& result,
                                              std::function<void()> on_end) {
  Request request;
  request.prompt_tokens = wanted.prompt_tokens;
  request.sampling.max_tokens = static_cast<int>(wanted.most_output_tokens());
  request.sampling.ignore_eos = true;
  if (engine_.config().speculation.enabled()) result.num_accepted_drafts = 0;
  const auto length = static_cast<std::size_t>(wanted.output_tokens);
  try {
    engine_.submit(
        std::move(request), [this, &result, length, ended = false, step_ns = std::int64_t{-1},
                             on_end = std::move(on_end)](const TokenEvent& event) mutable {
          if (ended) return;  // the answer to the cancellation below
          if (event.token) {
            // Tokens of one step are one piece of output.
            const bool is_next_step = event.time_ns != step_ns;
            step_ns = event.time_ns;
            result.token_times_ns.push_back(is_next_step ? now_ns() : result.token_times_ns.back());
            result.tokens.push_back(*event.token);
            if (event.was_drafted) ++*result.num_accepted_drafts;
          }
          const bool has_all = result.tokens.size() == length;
          if (!has_all && !event.finish_reason) return;
          ended = true;
          if (!has_all) result.error = missing_tokens(event, result);
          // Below its limit: it ends here, as an end-of-sequence token would end it. The
          // engine's next step is without it.
          if (!event.finish_reason) engine_.cancel(event.request);
          on_end();
        });
  } catch (const Error& error) {
    return error.what();
  }
  return std::nullopt;
}

}  // namespace iol::bench
