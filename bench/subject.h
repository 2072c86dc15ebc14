#pragma once
// A subject: one way of serving a model that the bench puts beside others.
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "workload/prompts.h"

namespace iol::bench {

enum class Phase : std::uint8_t { kWarmUp, kProbe, kMeasure };
/// "warmup", "probe" (of a sweep) or "measure", as records say it.
std::string_view phase_name(Phase phase);

/// What came of one request. Times are now_ns() of this machine, whichever process took them.
struct RequestResult {
  std::int64_t id = 0;
  std::int64_t intended_start_ns = 0;  // when it was due; equal to start_ns in a closed loop
  std::int64_t start_ns = 0;
  std::vector<std::int64_t> token_times_ns;  // [output tokens] when each reached the client
  std::vector<std::int32_t> tokens;          // [output tokens]
  std::optional<std::string> error;
  std::optional<std::int64_t> num_accepted_drafts = {};  // of a subject that speculates
  // Of a server, which answers with text in pieces: token_times_ns is of its pieces and tokens is
  // empty. Counts are what the server says.
  std::string text = {};
  std::optional<std::int64_t> num_input_tokens = {};
  std::optional<std::int64_t> num_output_tokens = {};
  std::optional<std::int64_t> num_cached_tokens = {};
};

/// What came of one run.
struct RunResult {
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  std::vector<RequestResult> requests;
  nlohmann::json details = nlohmann::json::object();  // what the subject adds, for the records
  std::vector<nlohmann::json> steps;  // one object each, when they are traced and it has any
};

/// A closed loop, in which `concurrency` requests are under way at any time, in the order given; or
/// (concurrency 0) an open one, in which each request is sent when it is due.
struct Load {
  Phase phase = Phase::kMeasure;
  int concurrency = 1;
  std::span<const WorkloadRequest> requests;
  bool traces_steps = false;  // the result is to hold the engine's steps
  bool is_watched = false;    // somebody looks on: progress several times a second, with the state
};

/// What an engine has under way at a moment.
struct EngineState {
  std::int64_t generated_tokens = 0;  // since the run began
  std::int64_t running = 0;           // sequences in the step
  std::int64_t waiting = 0;
  std::int64_t kv_blocks_used = 0;
  std::int64_t kv_blocks = 0;
};

/// How far a run is.
struct RunProgress {
  std::int64_t completed = 0;         // requests
  std::optional<EngineState> engine;  // of a watched run, by subjects that know it
};

/// How long work inside a subject may take and how it is stopped early.
struct Patience {
  std::function<bool()> interrupted;  // polled a few times a second
  double silence_seconds = 1800;      // without any sign of life from the subject
  std::function<void(const RunProgress& progress)> on_progress;
};

/// Thrown out of a subject when Patience::interrupted() turned true.
class Interrupted : public Error {
 public:
  Interrupted() : Error("interrupted") {}
};

/// One thread uses a subject at a time. A subject that is not running a load is idle: it uses no
/// processor time, since another one is being measured.
///
/// Results arrive when the run has ended and not token by token: nothing beside the subject's own
/// work happens while the clock runs.
class Subject {
 public:
  virtual ~Subject() = default;
  [[nodiscard]] virtual const std::string& name() const = 0;
  /// "pytorch", "iol", ...
  [[nodiscard]] virtual const std::string& kind() const = 0;
  /// The setting of every lever (quantization, batching, cache, speculation), as asked for.
  [[nodiscard]] virtual const nlohmann::json& settings() const = 0;

  /// Loads the model and returns what the subject says of itself: its settings, versions and
  /// memory, for the subject record. Throws ResourceError, InputError or Interrupted.
  virtual nlohmann::json start(const Patience& patience) = 0;
  /// Throws ResourceError when the subject died or broke its protocol, Interrupted.
  virtual RunResult run(const Load& load, const Patience& patience) = 0;
  /// The process whose memory and processor time are the subject's; nothing before start().
  [[nodiscard]] virtual std::optional<pid_t> process_id() const = 0;
  /// Ends the subject and everything it started.
  virtual void stop() noexcept = 0;
};

}  // namespace iol::bench
