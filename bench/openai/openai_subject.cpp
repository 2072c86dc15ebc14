#include "bench/openai/openai_subject.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <future>

#include "base/error.h"
#include "bench/load_generator.h"
#include "bench/openai/completion_stream.h"

namespace iol::bench {
namespace {

using nlohmann::json;

constexpr double kCountTolerance = 0.10;
constexpr double kCountSlackTokens = 2;

/// A prompt that any model takes, for the request that finds out what the server takes.
const std::vector<std::int32_t> kProbePrompt = {10, 11, 12, 13};

bool is_client_error(int status) { return status == 400 || status == 422; }

}  // namespace

OpenAiSubject::OpenAiSubject(OpenAiSubjectOptions options) : options_(std::move(options)) {
  settings_ = {{"url", options_.endpoint.url},
               {"endpoint", options_.endpoint.chat ? "chat completions" : "completions"},
               {"tls", options_.endpoint.tls},
               {"prompts", options_.tokenizer != nullptr ? "text" : "token ids"},
               {"request_timeout_s", options_.request_timeout_s}};
}

OpenAiSubject::~OpenAiSubject() = default;

std::string OpenAiSubject::body_of(std::span<const std::int32_t> prompt, std::int64_t max_tokens,
                                   bool streams) const {
  json body = {{"model", model_}, {"max_tokens", max_tokens}, {"temperature", 0.0}};
  if (takes_ignore_eos_) {
    body["ignore_eos"] = true;
    body["min_tokens"] = max_tokens;
  }
  if (streams) {
    body["stream"] = true;
    body["stream_options"] = {{"include_usage", true}};
  }
  if (options_.endpoint.chat) {
    body["messages"] =
        json::array({{{"role", "user"}, {"content", options_.tokenizer->decode(prompt)}}});
  } else if (options_.tokenizer != nullptr) {
    body["prompt"] = options_.tokenizer->decode(prompt);
  } else {
    body["prompt"] = prompt;
  }
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string OpenAiSubject::find_model() {
  if (!options_.model.empty()) return options_.model;
  const auto answer = target_->request(options_.endpoint.base + "/models", "");
  if (answer.status != 200) {
    throw_resource_error("{}: GET {}/models: HTTP status {}: {}", options_.endpoint.url,
                         options_.endpoint.base, answer.status, error_message_of(answer.body));
  }
  const json document = json::parse(answer.body, nullptr, /*allow_exceptions=*/false);
  const json::json_pointer first("/data/0/id");
  if (document.is_object() && document.contains(first) && document.at(first).is_string()) {
    return document.at(first).get<std::string>();
  }
  throw_input_error("{}: lists no model at {}/models; name one with --openai-model",
                    options_.endpoint.url, options_.endpoint.base);
}

void OpenAiSubject::find_out_what_it_takes() {
  HttpAnswer answer;
  for (const bool with_extensions : {true, false}) {
    takes_ignore_eos_ = with_extensions;
    answer = target_->request(options_.endpoint.path, body_of(kProbePrompt, 1, /*streams=*/false));
    if (answer.status == 200) return;
    if (!is_client_error(answer.status)) break;
  }
  throw_resource_error("{}: POST {}: HTTP status {}: {}", options_.endpoint.url,
                       options_.endpoint.path, answer.status, error_message_of(answer.body));
}

json OpenAiSubject::start(const Patience&) {
  if (options_.endpoint.chat && options_.tokenizer == nullptr) {
    throw_input_error(
        "{}: the chat endpoint needs text, and this model has no tokenizer; use /v1/completions",
        options_.endpoint.url);
  }
  target_ = std::make_unique<OpenAiTarget>(
      options_.endpoint, OpenAiTarget::Options{options_.api_key, options_.request_timeout_s});
  model_ = find_model();
  find_out_what_it_takes();
  return {{"settings", {{"served_model", model_}, {"ignore_eos", takes_ignore_eos_}}}};
}

RunResult OpenAiSubject::run(const Load& load, const Patience& patience) {
  IOL_CHECK(target_ != nullptr);
  std::unordered_map<std::int64_t, std::string> bodies;
  for (const auto& request : load.requests) {
    bodies[request.id] = body_of(request.prompt_tokens, request.output_tokens, /*streams=*/true);
  }
  target_->set_bodies(std::move(bodies));
  const double processor_s = target_->processor_seconds();
  std::atomic<std::int64_t> completed = 0;
  auto running = std::async(std::launch::async, [&] {
    return run_load(*target_, load, [&](std::int64_t count) { completed = count; });
  });
  while (running.wait_for(std::chrono::milliseconds(100)) != std::future_status::ready) {
    if (patience.on_progress) patience.on_progress({completed, std::nullopt});
    if (patience.interrupted && patience.interrupted()) target_->cancel_all();
  }
  auto result = running.get();
  if (target_->is_cancelled()) throw Interrupted();
  result.details["usage"] = check_usage(result, options_.tokenizer);
  result.details["client_processor_s"] = target_->processor_seconds() - processor_s;
  return result;
}

json check_usage(const RunResult& result, const Tokenizer* tokenizer) {
  std::int64_t answered = 0;
  std::int64_t without_usage = 0;
  std::int64_t checked = 0;
  std::int64_t differs = 0;
  std::int64_t cached = 0;
  for (const auto& request : result.requests) {
    if (request.error) continue;
    ++answered;
    cached += request.num_cached_tokens.value_or(0);
    if (!request.num_output_tokens) {
      ++without_usage;
      continue;
    }
    if (tokenizer == nullptr) continue;
    const auto ours = static_cast<double>(tokenizer->encode(request.text, false).size());
    const double off = std::abs(ours - static_cast<double>(*request.num_output_tokens));
    ++checked;
    if (off > kCountSlackTokens && off > kCountTolerance * ours) ++differs;
  }
  return {{"requests", answered},
          {"without_usage", without_usage},
          {"checked_with_tokenizer", checked},
          {"differs_from_tokenizer", differs},
          {"cached_prompt_tokens", cached}};
}

}  // namespace iol::bench
