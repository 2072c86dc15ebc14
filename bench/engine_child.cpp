#include "bench/engine_child.h"

#include <algorithm>
#include <atomic>
#include <istream>
#include <mutex>
#include <ostream>

#include "backend/kv_format.h"
#include "base/clock.h"
#include "base/error.h"
#include "bench/json_or_null.h"
#include "bench/load_generator.h"
#include "bench/process_status.h"

namespace iol::bench {
namespace {

using nlohmann::json;

// Seldom enough to cost the run nothing: the engine's own thread sends it.
constexpr std::int64_t kProgressIntervalNs = 200'000'000;
// Of a traced run: no memory is moved for a step while the clock runs, in all but the longest.
constexpr std::size_t kReservedSteps = std::size_t{1} << 18;

std::string_view policy_name(SchedulerPolicy policy) {
  return policy == SchedulerPolicy::kInFlight ? "in-flight" : "static";
}

std::string_view allocation_name(KvAllocation allocation) {
  return allocation == KvAllocation::kPaged ? "paged" : "contiguous";
}

std::string_view preemption_name(PreemptionMode mode) {
  return mode == PreemptionMode::kSwap ? "swap" : "recompute";
}

json dtype_json(const std::optional<DType>& dtype) {
  return dtype ? json(dtype_name(*dtype)) : json(nullptr);
}

WeightFormat parse_format_field(const json& field) {
  const auto format = parse_weight_format(field.get<std::string>());
  if (!format) throw_input_error("engine configuration: unknown format {}", field.dump());
  return *format;
}

SpeculationConfig parse_speculation_fields(const json& json) {
  SpeculationConfig speculation;
  const auto draft = json.at("draft").get<std::string>();
  if (draft != draft_text({})) speculation = parse_draft(draft);
  speculation.quant = parse_draft_format(json.at("draft_quant").get<std::string>());
  if (!json.at("draft_depth").is_null()) speculation.depth = json.at("draft_depth").get<int>();
  if (!json.at("simulated_acceptance").is_null()) {
    speculation.simulated_acceptance = json.at("simulated_acceptance").get<double>();
  }
  return speculation;
}

std::optional<DType> parse_dtype_field(const json& field) {
  if (field.is_null()) return std::nullopt;
  const auto dtype = parse_dtype(field.get<std::string>());
  if (!dtype) throw_input_error("engine configuration: unknown dtype {}", field.dump());
  return dtype;
}

std::optional<DType> parse_kv_field(const json& field) {
  if (field.is_null()) return std::nullopt;
  const auto dtype = parse_kv_format(field.get<std::string>());
  if (!dtype) throw_input_error("engine configuration: unknown KV cache format {}", field.dump());
  return dtype;
}

Device parse_device_field(const json& field) {
  const auto device = parse_device(field.get<std::string>());
  if (!device) throw_input_error("engine configuration: unknown device {}", field.dump());
  return *device;
}

class LineWriter {
 public:
  explicit LineWriter(std::ostream& output) : output_(output) {}
  void send(const json& message) {
    const auto text = message.dump(-1, ' ', false, json::error_handler_t::replace);
    const std::lock_guard lock(mutex_);
    output_ << text << '\n' << std::flush;
  }

 private:
  std::ostream& output_;
  std::mutex mutex_;
};

json ready_message(const Engine& engine, std::int64_t load_ns) {
  const auto memory = engine.memory();
  json settings = engine_config_json(engine.config());
  settings.erase("model");
  settings["backend"] = engine.backend_name();
  return {{"type", "ready"},
          {"versions", {{"iol", IOL_VERSION}}},
          {"load_ns", load_ns},
          {"settings", std::move(settings)},
          {"memory",
           {{"resident_bytes", read_process_status(0).resident_bytes.value_or(0)},
            {"weights_bytes", memory.weights_bytes},
            {"kv_cache_bytes", memory.kv_cache_bytes},
            {"activations_bytes", memory.activations_bytes},
            {"draft_model_bytes", memory.draft_model_bytes}}}};
}

std::vector<WorkloadRequest> parse_requests(const json& message) {
  std::vector<WorkloadRequest> requests;
  for (const auto& item : message.at("requests")) {
    WorkloadRequest request;
    request.id = item.at("id").get<std::int64_t>();
    request.prompt_tokens = item.at("prompt").get<std::vector<std::int32_t>>();
    request.output_tokens = item.at("output_tokens").get<std::int64_t>();
    request.due_ns = item.value("due_ns", std::int64_t{0});
    request.output_limit = item.value("output_limit", request.output_tokens);
    requests.push_back(std::move(request));
  }
  return requests;
}

json request_message(const RequestResult& result) {
  json message = {{"type", "request"},
                  {"id", result.id},
                  {"start_ns", result.start_ns},
                  {"intended_start_ns", result.intended_start_ns}};
  if (result.error) {
    message["error"] = *result.error;
  } else {
    message["token_times_ns"] = result.token_times_ns;
    message["tokens"] = result.tokens;
    if (result.num_accepted_drafts) message["accepted_draft_tokens"] = *result.num_accepted_drafts;
  }
  return message;
}

/// What the steps of a run had under way, summed on the engine's thread.
struct StepSums {
  std::int64_t steps = 0;
  std::int64_t running = 0;
  std::int64_t blocks_used = 0;
  std::int64_t drafting_steps = 0;
  std::int64_t draft_depths = 0;
  int most_running = 0;
  int most_blocks_used = 0;

  void add(const StepRecord& step) {
    ++steps;
    running += step.num_running;
    blocks_used += step.num_blocks_used;
    drafting_steps += step.num_draft_tokens > 0 ? 1 : 0;
    draft_depths += step.draft_depth;
    most_running = std::max(most_running, step.num_running);
    most_blocks_used = std::max(most_blocks_used, step.num_blocks_used);
  }

  [[nodiscard]] json record(const Engine& engine) const {
    if (steps == 0) return nullptr;
    const auto mean = [&](std::int64_t sum) {
      return static_cast<double>(sum) / static_cast<double>(steps);
    };
    return {{"running_mean", mean(running)},
            {"running_max", most_running},
            {"kv_blocks_used_mean", mean(blocks_used)},
            {"kv_blocks_used_max", most_blocks_used},
            {"kv_blocks", engine.stats().num_blocks},
            {"kv_block_tokens", engine.config().block_size}};
  }
};

/// Null where nobody drafts.
json speculation_details(const Engine& engine, const EngineStats& before, const StepSums& sums) {
  if (!engine.config().speculation.enabled()) return nullptr;
  const auto after = engine.stats();
  const auto drafts = after.num_draft_tokens - before.num_draft_tokens;
  const auto accepted = after.num_accepted_draft_tokens - before.num_accepted_draft_tokens;
  const auto steps = static_cast<double>(std::max<std::int64_t>(sums.steps, 1));
  json details = {{"draft_tokens", drafts},
                  {"accepted_draft_tokens", accepted},
                  {"draft_ns", after.draft_ns - before.draft_ns},
                  {"drafting_steps", sums.drafting_steps},
                  {"depth_mean", static_cast<double>(sums.draft_depths) / steps},
                  {"predicted_speedup", after.predicted_speedup}};
  details["accepted_share"] =
      drafts > 0 ? json(static_cast<double>(accepted) / static_cast<double>(drafts)) : json();
  if (!after.draft_error.empty()) details["error"] = after.draft_error;
  return details;
}

json engine_details(const Engine& engine, const EngineStats& before, const StepSums& sums) {
  const auto after = engine.stats();
  return {{"steps", after.num_steps - before.num_steps},
          {"step_ns", after.step_ns - before.step_ns},
          {"host_ns", after.host_ns - before.host_ns},
          {"prompt_tokens", after.prompt_tokens - before.prompt_tokens},
          {"cached_tokens", after.cached_tokens - before.cached_tokens},
          {"generated_tokens", after.generated_tokens - before.generated_tokens},
          {"preemptions", after.num_preemptions - before.num_preemptions},
          {"swapped_out_blocks", after.num_swapped_out_blocks - before.num_swapped_out_blocks},
          {"swapped_in_blocks", after.num_swapped_in_blocks - before.num_swapped_in_blocks},
          {"load", sums.record(engine)},
          {"speculation", speculation_details(engine, before, sums)}};
}

json step_message(const StepRecord& step) {
  return {{"type", "step"},
          {"t_ns", step.start_ns},
          {"duration_ns", step.duration_ns},
          {"host_ns", step.host_ns},
          {"prefill_tokens", step.num_prefill_tokens},
          {"decode_tokens", step.num_decode_tokens},
          {"draft_tokens", step.num_draft_tokens},
          {"accepted_draft_tokens", step.num_accepted_draft_tokens},
          {"draft_depth", step.draft_depth},
          {"draft_ns", step.draft_ns},
          {"running", step.num_running},
          {"waiting", step.num_waiting},
          {"blocks_used", step.num_blocks_used},
          {"swapped_out_blocks", step.num_swapped_out_blocks},
          {"swapped_in_blocks", step.num_swapped_in_blocks}};
}

/// Tells the parent how far a run is: when requests end, and of a watched run at steps as well,
/// with what is under way. Both come from the engine's thread.
class Progress {
 public:
  Progress(LineWriter& writer, const Engine& engine, bool is_watched)
      : writer_(writer),
        engine_(engine),
        is_watched_(is_watched),
        tokens_before_(is_watched ? engine.stats().generated_tokens : 0) {}

  void count(std::int64_t completed) {
    completed_ = completed;
    if (!is_watched_ && is_due()) writer_.send({{"type", "progress"}, {"completed", completed}});
  }

  void look(const StepRecord& step) {
    if (!is_watched_ || !is_due()) return;
    const auto stats = engine_.stats();
    writer_.send({{"type", "progress"},
                  {"completed", completed_.load()},
                  {"engine",
                   {{"generated_tokens", stats.generated_tokens - tokens_before_},
                    {"running", step.num_running},
                    {"waiting", step.num_waiting},
                    {"kv_blocks_used", step.num_blocks_used},
                    {"kv_blocks", stats.num_blocks}}}});
  }

 private:
  bool is_due() {
    const auto now = now_ns();
    if (now - reported_ns_ < kProgressIntervalNs) return false;
    reported_ns_ = now;
    return true;
  }

  LineWriter& writer_;
  const Engine& engine_;
  bool is_watched_;
  std::int64_t tokens_before_;
  std::atomic<std::int64_t> completed_ = 0;
  std::int64_t reported_ns_ = now_ns();
};

/// Keeps the engine's thread busy, as a slower step would.
void spin(std::int64_t ns) {
  const auto end_ns = now_ns() + ns;
  while (now_ns() < end_ns) {
  }
}

void serve_run(Engine& engine, const json& message, double slow_steps, LineWriter& writer) {
  const auto requests = parse_requests(message);
  Load load;
  load.concurrency = message.at("concurrency").get<int>();
  load.requests = requests;
  // Every run begins without remembered prefixes, so that repetitions are alike.
  engine.clear_prefix_cache();
  const auto before = engine.stats();
  StepSums sums;
  const bool traces_steps = message.value("trace_steps", false);
  std::vector<StepRecord> steps;
  if (traces_steps) steps.reserve(kReservedSteps);
  Progress progress(writer, engine, message.value("watched", false));
  engine.on_step([&](const StepRecord& step) {
    sums.add(step);
    progress.look(step);
    if (traces_steps) steps.push_back(step);
    spin(static_cast<std::int64_t>(slow_steps * static_cast<double>(step.duration_ns)));
  });
  const auto result = run_load(engine, load, [&](std::int64_t count) { progress.count(count); });
  engine.on_step({});
  for (const auto& request : result.requests) writer.send(request_message(request));
  for (const auto& step : steps) writer.send(step_message(step));
  json done = result.details;
  done.update({{"type", "done"},
               {"start_ns", result.start_ns},
               {"end_ns", result.end_ns},
               {"engine", engine_details(engine, before, sums)}});
  writer.send(done);
}

}  // namespace

json engine_config_json(const EngineConfig& config) {
  return {
      {"model", config.model},
      {"device", device_name(config.device)},
      {"dtype", dtype_json(config.dtype)},
      {"kv_dtype", config.kv_dtype ? json(kv_format_name(*config.kv_dtype)) : json(nullptr)},
      {"quant", weight_format_name(config.quant.format)},
      {"quant_group_size", config.quant.group_size},
      {"quant_head", weight_format_name(config.quant.head)},
      {"quant_keep", config.quant.keep},
      {"verify", config.verify},
      {"isa", config.isa ? json(isa_name(*config.isa)) : json(nullptr)},
      {"threads", config.num_threads},
      {"max_batch", config.max_batch},
      {"max_step_tokens", config.max_step_tokens},
      {"max_context", config.max_context},
      {"kv_cache_tokens", config.kv_cache_tokens},
      {"block_size", config.block_size},
      {"scheduler", policy_name(config.scheduler)},
      {"kv_allocation", allocation_name(config.kv_allocation)},
      {"prefix_cache", config.prefix_cache},
      {"preemption", preemption_name(config.preemption)},
      {"swap_space_bytes",
       config.preemption == PreemptionMode::kSwap ? json(config.swap_space_bytes) : json(nullptr)},
      {"deterministic", config.deterministic},
      {"draft", draft_text(config.speculation)},
      {"draft_quant", draft_format_text(config.speculation)},
      {"draft_depth", or_null(config.speculation.depth)},
      {"simulated_acceptance", or_null(config.speculation.simulated_acceptance)},
      {"seed", config.seed}};
}

EngineConfig parse_engine_config(const json& json) try {
  EngineConfig config;
  config.model = json.at("model").get<std::string>();
  config.device = parse_device_field(json.at("device"));
  config.dtype = parse_dtype_field(json.at("dtype"));
  config.kv_dtype = parse_kv_field(json.at("kv_dtype"));
  config.quant.format = parse_format_field(json.at("quant"));
  config.quant.group_size = json.at("quant_group_size").get<int>();
  config.quant.head = parse_format_field(json.at("quant_head"));
  config.quant.keep = json.at("quant_keep").get<std::vector<std::string>>();
  config.verify = json.at("verify").get<bool>();
  if (!json.at("isa").is_null()) config.isa = parse_isa(json.at("isa").get<std::string>());
  config.num_threads = json.at("threads").get<int>();
  config.max_batch = json.at("max_batch").get<int>();
  config.max_step_tokens = json.at("max_step_tokens").get<int>();
  config.max_context = json.at("max_context").get<int>();
  config.kv_cache_tokens = json.at("kv_cache_tokens").get<std::int64_t>();
  config.block_size = json.at("block_size").get<int>();
  config.scheduler = json.at("scheduler") == policy_name(SchedulerPolicy::kStatic)
                         ? SchedulerPolicy::kStatic
                         : SchedulerPolicy::kInFlight;
  config.kv_allocation = json.at("kv_allocation") == allocation_name(KvAllocation::kContiguous)
                             ? KvAllocation::kContiguous
                             : KvAllocation::kPaged;
  config.prefix_cache = json.at("prefix_cache").get<bool>();
  config.preemption = json.at("preemption") == preemption_name(PreemptionMode::kSwap)
                          ? PreemptionMode::kSwap
                          : PreemptionMode::kRecompute;
  if (!json.at("swap_space_bytes").is_null())
    config.swap_space_bytes = json.at("swap_space_bytes").get<std::int64_t>();
  config.deterministic = json.at("deterministic").get<bool>();
  config.speculation = parse_speculation_fields(json);
  config.seed = json.at("seed").get<std::uint64_t>();
  return config;
} catch (const nlohmann::json::exception& error) {
  throw_input_error("engine configuration: {}", error.what());
}

int serve_engine(const std::string& config_json, const EngineFactory& create_engine,
                 std::istream& input, std::ostream& output) {
  LineWriter writer(output);
  try {
    const auto document = json::parse(config_json);
    const auto config = parse_engine_config(document);
    const double slow_steps = document.value("slow_steps", 0.0);
    const auto start_ns = now_ns();
    const auto engine = create_engine(config);
    writer.send(ready_message(*engine, now_ns() - start_ns));
    for (std::string line; std::getline(input, line);) {
      const auto message = json::parse(line);
      if (message.at("type") == "quit") return 0;
      serve_run(*engine, message, slow_steps, writer);
      if (const auto why = engine->stats().device_error; !why.empty()) throw DeviceError(why);
    }
    return 0;
  } catch (const std::exception& error) {
    writer.send({{"type", "error"}, {"message", error.what()}});
    return 1;
  }
}

}  // namespace iol::bench
