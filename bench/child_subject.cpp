#include "bench/child_subject.h"

#include <algorithm>

#include "base/error.h"

namespace iol::bench {
namespace {

using nlohmann::json;

constexpr double kQuitSeconds = 2;
constexpr std::size_t kStderrLines = 5;

json run_message(const Load& load) {
  json requests = json::array();
  for (const auto& request : load.requests) {
    requests.push_back({{"id", request.id},
                        {"prompt", request.prompt_tokens},
                        {"output_tokens", request.output_tokens},
                        {"due_ns", request.due_ns},
                        {"output_limit", request.most_output_tokens()}});
  }
  return {{"type", "run"},
          {"phase", phase_name(load.phase)},
          {"concurrency", load.concurrency},
          {"trace_steps", load.traces_steps},
          {"watched", load.is_watched},
          {"requests", std::move(requests)}};
}

RunProgress progress_of(const json& message) {
  RunProgress progress;
  progress.completed = message.at("completed").get<std::int64_t>();
  if (const auto state = message.find("engine"); state != message.end()) {
    progress.engine = EngineState{
        state->at("generated_tokens").get<std::int64_t>(), state->at("running").get<std::int64_t>(),
        state->at("waiting").get<std::int64_t>(), state->at("kv_blocks_used").get<std::int64_t>(),
        state->at("kv_blocks").get<std::int64_t>()};
  }
  return progress;
}

/// The message without the fields that every message of its type has.
json details_of(json message) {
  for (const char* field : {"type", "start_ns", "end_ns"}) message.erase(field);
  return message;
}

/// A child's own clock readings have to make sense before they become records.
void check_result(const RequestResult& result) {
  const auto& times = result.token_times_ns;
  if (result.error) return;
  if (times.empty() || times.size() != result.tokens.size()) {
    throw_resource_error("{} times for {} tokens", times.size(), result.tokens.size());
  }
  if (!std::is_sorted(times.begin(), times.end()) || times.front() < result.start_ns) {
    throw_resource_error("token times that run backwards");
  }
}

}  // namespace

std::optional<pid_t> ChildSubject::process_id() const {
  if (!process_) return std::nullopt;
  return process_->process_id();
}

void ChildSubject::fail(std::string_view activity, std::string_view what) {
  process_->kill();
  std::string tail = process_->stderr_tail(kStderrLines);
  if (!tail.empty()) tail = "; its last words: " + tail;
  throw_resource_error("subject {} {} {}{}", name(), what, activity, tail);
}

json ChildSubject::receive(const Patience& patience, std::string_view activity) {
  const auto result = process_->read_line(patience.silence_seconds, patience.interrupted);
  switch (result.outcome) {
    case ReadOutcome::kInterrupted:
      throw Interrupted();
    case ReadOutcome::kTimedOut:
      fail(activity, fmt::format("gave no sign of life for {:.0f} s", patience.silence_seconds));
    case ReadOutcome::kEnded:
      process_->kill();
      fail(activity, process_->end_description());
    case ReadOutcome::kLine:
      break;
  }
  json message = json::parse(result.line, nullptr, /*allow_exceptions=*/false);
  if (!message.is_object() || !message.contains("type") || !message["type"].is_string()) {
    fail(activity, fmt::format("said '{:.80}', which is not a message,", result.line));
  }
  if (message["type"] == "error") {
    fail(activity, fmt::format("failed with '{}'", message.value("message", "no message")));
  }
  return message;
}

json ChildSubject::start(const Patience& patience) {
  process_ = std::make_unique<ChildProcess>(launch_.arguments);
  json message = receive(patience, "while loading");
  if (message["type"] != "ready") fail("while loading", "did not say that it is ready");
  return details_of(std::move(message));
}

void ChildSubject::add_result(RunResult& result, const json& message, const Load& load) {
  RequestResult request;
  request.id = message.at("id").get<std::int64_t>();
  request.start_ns = message.at("start_ns").get<std::int64_t>();
  request.intended_start_ns = message.value("intended_start_ns", request.start_ns);
  if (message.contains("error") && !message["error"].is_null()) {
    request.error = message["error"].get<std::string>();
  } else {
    request.token_times_ns = message.at("token_times_ns").get<std::vector<std::int64_t>>();
    request.tokens = message.at("tokens").get<std::vector<std::int32_t>>();
    if (message.contains("accepted_draft_tokens")) {
      request.num_accepted_drafts = message["accepted_draft_tokens"].get<std::int64_t>();
    }
  }
  const auto has_id = [&](const auto& other) { return other.id == request.id; };
  if (std::none_of(load.requests.begin(), load.requests.end(), has_id)) {
    throw_resource_error("a request that it was never given");
  }
  if (std::any_of(result.requests.begin(), result.requests.end(), has_id)) {
    throw_resource_error("the same request twice");
  }
  check_result(request);
  result.requests.push_back(std::move(request));
}

RunResult ChildSubject::run(const Load& load, const Patience& patience) {
  IOL_CHECK(process_ != nullptr);
  constexpr std::string_view kActivity = "during a run";
  if (!process_->write_line(run_message(load).dump(), patience.interrupted)) {
    if (patience.interrupted && patience.interrupted()) throw Interrupted();
    receive(patience, kActivity);  // most likely its end, with the reason
    fail(kActivity, "stopped reading");
  }
  RunResult result;
  while (true) {
    json message = receive(patience, kActivity);
    try {
      if (message["type"] == "progress") {
        const auto progress = progress_of(message);
        if (patience.on_progress) patience.on_progress(progress);
      } else if (message["type"] == "request") {
        add_result(result, message, load);
      } else if (message["type"] == "step") {
        message.erase("type");
        result.steps.push_back(std::move(message));
      } else if (message["type"] == "done") {
        result.start_ns = message.at("start_ns").get<std::int64_t>();
        result.end_ns = message.at("end_ns").get<std::int64_t>();
        result.details = details_of(std::move(message));
        break;
      }
    } catch (const json::exception& error) {
      fail(kActivity, fmt::format("sent a broken message ({})", error.what()));
    } catch (const ResourceError& error) {
      fail(kActivity, fmt::format("reported {}", error.what()));
    }
  }
  if (result.requests.size() != load.requests.size()) {
    fail(kActivity,
         fmt::format("answered {} of {} requests", result.requests.size(), load.requests.size()));
  }
  std::sort(result.requests.begin(), result.requests.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  return result;
}

void ChildSubject::stop() noexcept {
  if (!process_) return;
  process_->stop(kQuitSeconds);
  process_.reset();
}

}  // namespace iol::bench
