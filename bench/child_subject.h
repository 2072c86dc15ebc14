#pragma once
#include <memory>

#include "bench/child_process.h"
#include "bench/subject.h"

namespace iol::bench {

/// A subject in a process of its own, spoken to in JSON lines. Every subject is one, ours included:
/// then each has its own memory to be measured, and none is inside the process that measures.
///
/// To the child:
///   {"type": "run", "phase": "warmup"|"measure", "concurrency": C,
///    "requests": [{"id": 0, "prompt": [ids], "output_tokens": 200, "output_limit": 200,
///                  "due_ns": 0}, ...]}             concurrency 0: each is sent when it is due
///   {"type": "quit"}                              (end of input means the same)
/// From the child:
///   {"type": "ready", ...}                        once the model is loaded; the rest is details
///   {"type": "progress", "completed": N}          now and then during a run; of a watched one with
///                                                 `engine`, the fields of EngineState
///   {"type": "request", "id": 0, "start_ns": T, "intended_start_ns": T, "token_times_ns": [...],
///    "tokens": [...], "error": "..."}                              after the run has ended; error
///    only on failure
///   {"type": "step", "t_ns": T, ...}              of each step, when the run asks for them
///   {"type": "done", "start_ns": T, "end_ns": T, ...}    the rest is details
///   {"type": "error", "message": "one line"}      it can't go on
class ChildSubject : public Subject {
 public:
  struct Launch {
    std::string name;
    std::string kind;
    std::vector<std::string> arguments;  // [0] is the program
    nlohmann::json settings = nlohmann::json::object();
  };
  explicit ChildSubject(Launch launch) : launch_(std::move(launch)) {}

  [[nodiscard]] const std::string& name() const override { return launch_.name; }
  [[nodiscard]] const std::string& kind() const override { return launch_.kind; }
  [[nodiscard]] const nlohmann::json& settings() const override { return launch_.settings; }
  nlohmann::json start(const Patience& patience) override;
  RunResult run(const Load& load, const Patience& patience) override;
  [[nodiscard]] std::optional<pid_t> process_id() const override;
  void stop() noexcept override;

 private:
  nlohmann::json receive(const Patience& patience, std::string_view activity);
  [[noreturn]] void fail(std::string_view activity, std::string_view what);
  void add_result(RunResult& result, const nlohmann::json& message, const Load& load);

  Launch launch_;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace iol::bench
