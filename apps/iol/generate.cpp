// iol generate MODEL -p TEXT: stream a completion to the terminal.
#include <fmt/format.h>

#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "commands.h"
#include "engine/engine.h"
#include "engine_options.h"
#include "tokenizer/tokenizer.h"

namespace iol::cli {
namespace {

struct GenerateOptions {
  CLI::App* command = nullptr;  // knows which options were given
  EngineOptions engine;
  std::string model;
  std::string prompt;
  SamplingParams sampling;
  int num_logprobs = -1;
};

/// What became of the request, filled by the engine's thread.
struct Completion {
  std::mutex mutex;
  std::condition_variable changed;
  std::string text;
  std::vector<std::int32_t> tokens;
  nlohmann::json logprobs = nlohmann::json::array();
  std::int64_t first_token_ns = 0;
  std::int64_t last_token_ns = 0;
  int num_accepted_drafts = 0;
  std::optional<FinishReason> finish_reason;
  std::string error;
};

nlohmann::json to_json(const TokenLogprobs& logprobs) {
  nlohmann::json top = nlohmann::json::array();
  for (const auto& entry : logprobs.top)
    top.push_back({{"token", entry.token}, {"logprob", entry.logprob}});
  return {{"token", logprobs.sampled.token}, {"logprob", logprobs.sampled.logprob}, {"top", top}};
}

void record(Completion& completion, const TokenEvent& event, bool stream) {
  if (stream && !event.text.empty()) {
    std::fwrite(event.text.data(), 1, event.text.size(), stdout);
    std::fflush(stdout);
  }
  const std::lock_guard lock(completion.mutex);
  completion.text += event.text;
  if (event.token) {
    if (completion.tokens.empty()) completion.first_token_ns = event.time_ns;
    completion.last_token_ns = event.time_ns;
    completion.tokens.push_back(*event.token);
    if (event.was_drafted) ++completion.num_accepted_drafts;
  }
  if (event.logprobs) completion.logprobs.push_back(to_json(*event.logprobs));
  if (event.finish_reason) {
    completion.finish_reason = event.finish_reason;
    completion.error = event.error;
    completion.changed.notify_all();
  }
}

/// Waits for the end; Ctrl-C cancels the request and the wait goes on to its last event.
void wait_for_end(Engine& engine, RequestId request, Completion& completion) {
  std::unique_lock lock(completion.mutex);
  while (!completion.finish_reason) {
    completion.changed.wait_for(lock, std::chrono::milliseconds(50));
    if (interrupted() && !completion.finish_reason) {
      lock.unlock();
      engine.cancel(request);
      lock.lock();
    }
  }
}

nlohmann::json speculation_json(const Engine& engine, int num_accepted) {
  const EngineStats stats = engine.stats();
  nlohmann::json result = {{"draft", draft_text(engine.config().speculation)},
                           {"steps", stats.num_steps},
                           {"draft_tokens", stats.num_draft_tokens},
                           {"accepted_draft_tokens", num_accepted},
                           {"draft_ms", static_cast<double>(stats.draft_ns) / 1e6}};
  if (!stats.draft_error.empty()) result["error"] = stats.draft_error;
  return result;
}

nlohmann::json result_json(const GenerateOptions& options, const Engine& engine,
                           const Completion& completion, std::size_t num_prompt_tokens,
                           std::int64_t start_ns) {
  const auto milliseconds = [](std::int64_t ns) { return static_cast<double>(ns) / 1e6; };
  nlohmann::json result = {{"model", options.model},
                           {"backend", engine.backend_name()},
                           {"prompt_tokens", num_prompt_tokens},
                           {"tokens", completion.tokens},
                           {"text", completion.text},
                           {"finish_reason", finish_reason_name(*completion.finish_reason)}};
  if (!completion.tokens.empty()) {
    result["time_to_first_token_ms"] = milliseconds(completion.first_token_ns - start_ns);
  }
  if (completion.tokens.size() > 1) {
    const auto gaps = static_cast<double>(completion.tokens.size() - 1);
    result["time_per_output_token_ms"] =
        milliseconds(completion.last_token_ns - completion.first_token_ns) / gaps;
  }
  if (options.num_logprobs >= 0) result["logprobs"] = completion.logprobs;
  if (engine.config().speculation.enabled()) {
    result["speculation"] = speculation_json(engine, completion.num_accepted_drafts);
  }
  return result;
}

void generate(GenerateOptions& options) {
  if (options.num_logprobs >= 0) options.sampling.num_logprobs = options.num_logprobs;
  // Speculation keeps to the tokens of a seed that is given, at the price of some drafts.
  const bool speculates = !options.engine.draft.empty();
  if (!speculates || options.command->count("--seed") > 0)
    options.sampling.seed = options.engine.common.seed;
  EngineConfig config = engine_config(options.engine, options.model);
  config.max_batch = 1;
  const auto engine = Engine::create(config);
  if (engine->tokenizer() == nullptr) {
    throw_input_error("'{}' has no tokenizer; 'iol bench' can run it", options.model);
  }
  Request request;
  request.prompt_tokens = engine->tokenizer()->encode(options.prompt);
  request.sampling = options.sampling;
  const std::size_t num_prompt_tokens = request.prompt_tokens.size();

  Completion completion;
  const bool stream = !options.engine.common.json;
  const std::int64_t start_ns = now_ns();
  const auto id = engine->submit(
      std::move(request), [&](const TokenEvent& event) { record(completion, event, stream); });
  wait_for_end(*engine, id, completion);
  engine->drain();  // its statistics are whole then
  if (completion.finish_reason == FinishReason::kError) throw Error(completion.error);
  if (stream) {
    fmt::print("\n");
  } else {
    fmt::print("{}\n",
               result_json(options, *engine, completion, num_prompt_tokens, start_ns).dump());
  }
  if (completion.finish_reason == FinishReason::kCancelled) throw ExitCode{130};
}

void add_sampling_options(CLI::App& command, GenerateOptions& options) {
  auto& sampling = options.sampling;
  const std::string group = "Sampling";
  command.add_option("--temperature", sampling.temperature, "0: greedy")
      ->capture_default_str()
      ->group(group);
  command.add_option("--top-k", sampling.top_k, "0: all tokens")
      ->capture_default_str()
      ->group(group);
  command.add_option("--top-p", sampling.top_p)->capture_default_str()->group(group);
  command.add_option("--min-p", sampling.min_p)->capture_default_str()->group(group);
  command.add_option("--repetition-penalty", sampling.repetition_penalty)
      ->capture_default_str()
      ->group(group);
  command.add_option("--presence-penalty", sampling.presence_penalty)
      ->capture_default_str()
      ->group(group);
  command.add_option("--frequency-penalty", sampling.frequency_penalty)
      ->capture_default_str()
      ->group(group);
  command.add_option("--stop", sampling.stop, "end before this text; may be given several times")
      ->allow_extra_args(false)
      ->group(group);
  command.add_option("--stop-token", sampling.stop_token_ids, "end after this token id")
      ->allow_extra_args(false)
      ->group(group);
  command.add_option("--min-tokens", sampling.min_tokens)->capture_default_str()->group(group);
  command.add_flag("--ignore-eos", sampling.ignore_eos, "go on after an end-of-sequence token")
      ->group(group);
  command
      .add_option("--logprobs", options.num_logprobs,
                  "with --json: log-probabilities, and the top N")
      ->group(group);
}

}  // namespace

void add_generate_command(CLI::App& program) {
  auto options = std::make_shared<GenerateOptions>();
  options->sampling.max_tokens = 128;
  auto* command = program.add_subcommand("generate", "Stream a completion to the terminal");
  options->command = command;
  command->add_option("MODEL", options->model, "folder, Hub id in the local cache, or demo")
      ->required();
  command->add_option("-p,--prompt", options->prompt, "the text to continue")->required();
  command->add_option("-n,--max-tokens", options->sampling.max_tokens, "tokens to generate at most")
      ->capture_default_str();
  add_sampling_options(*command, *options);
  add_engine_options(*command, options->engine);
  add_speculation_options(*command, options->engine);
  command->footer(
      "Examples:\n"
      "  iol generate demo -p \"It was a dark night\" -n 60\n"
      "  iol generate demo -p \"Once\" --temperature 0.8 --top-p 0.95 --seed 7\n"
      "  iol generate demo -p \"The sea\" --json --logprobs 3\n"
      "  iol generate demo -p \"The sea\" --draft ngram,demo-draft");
  command->callback([options] { generate(*options); });
}

}  // namespace iol::cli
