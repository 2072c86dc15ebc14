#include "bench/bench.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "backend/cuda/cuda_device.h"
#include "base/cpu.h"
#include "base/error.h"
#include "bench/engine_choice.h"
#include "bench/environment.h"
#include "bench/iol_subject.h"
#include "bench/model_access.h"
#include "bench/openai/openai_subject.h"
#include "bench/pytorch_subject.h"
#include "bench/quality/record_quality.h"
#include "bench/records.h"
#include "bench/runner.h"
#include "engine/device_backend.h"

namespace iol::bench {
namespace {

using nlohmann::json;

constexpr const char* kIolName = "iol";
constexpr std::int64_t kMostTraceRequests = 100'000;

/// What the load needs of our engine: a slot and room in the cache for every request under way.
EngineConfig engine_for(const BenchOptions& options, const BenchModel& model, const Plan& plan) {
  EngineConfig config = options.engine;
  config.model = model.name;
  config.device = resolve_device(config.device);
  config.dtype = model.dtype;
  if (model.built_from) {
    config.quant = model.built_from->quantization;
    config.kv_dtype = model.built_from->kv_dtype;
    config.verify = false;  // it has been verified, once is enough
  }
  if (config.num_threads == 0) config.num_threads = default_num_threads();
  if (config.max_batch == 0) {
    config.max_batch = plan.max_concurrency;
    if (plan.has_open_loops)
      config.max_batch = std::max(config.max_batch, EngineConfig{}.max_batch);
  }
  if (config.kv_cache_tokens == 0) {
    const auto blocks_per_request = plan.max_request_tokens / config.block_size + 2;
    config.kv_cache_tokens =
        std::int64_t{config.max_batch} * blocks_per_request * config.block_size;
  }
  if (config.kv_allocation == KvAllocation::kContiguous && config.max_context == 0) {
    // A contiguous cache reserves the longest context for every sequence.
    config.max_context = static_cast<int>(plan.max_request_tokens);
  }
  return config;
}

void add_servers(const BenchOptions& options, const EngineChoice& choice,
                 const Tokenizer* tokenizer, std::vector<std::unique_ptr<Subject>>& subjects,
                 json& not_measured) {
  for (const Endpoint& endpoint : choice.endpoints) {
    subjects.push_back(std::make_unique<OpenAiSubject>(
        OpenAiSubjectOptions{endpoint, options.servers.model, options.servers.api_key,
                             options.servers.request_timeout_s, tokenizer}));
    not_measured.push_back({{"what", "memory, bytes per step and quality of " + endpoint.name},
                            {"why", "it is a server; only what it answers is seen"}});
  }
}

/// What runs: our one engine, or the rungs of the ladder, behind the PyTorch baseline.
struct Lineup {
  std::vector<std::unique_ptr<Subject>> subjects;
  std::vector<QualitySubject> ours;
  std::optional<LadderPlan> ladder;
};

/// Under arrivals a static batch may have any size.
void leave_out_compiled(std::vector<std::unique_ptr<Subject>>& subjects, json& not_measured) {
  std::erase_if(subjects,
                [](const auto& subject) { return subject->name() == "pytorch-compiled"; });
  not_measured.push_back(
      {{"what", "pytorch-compiled under arrivals"},
       {"why", "it has one graph per batch size and would compile while the clock runs"}});
}

Lineup make_lineup(const BenchOptions& options, const ScenarioOptions& scenario,
                   const EngineChoice& choice, const BenchModel& model, const Plan& plan,
                   const EngineConfig& engine, json& not_measured) {
  Lineup lineup;
  PyTorchOptions pytorch{.device = engine.device,
                         .num_threads = engine.num_threads,
                         .max_request_tokens = plan.max_request_tokens,
                         .seed = options.scenario.seed};
  if (options.ladder) {
    lineup.ladder = plan_ladder(*options.ladder, engine, model, plan, choice.pytorch.has_value(),
                                scenario.trace && scenario.trace->shares_prefixes);
    pytorch.max_batch = lineup.ladder->kv_sequences;
  }
  if (choice.pytorch) {
    lineup.subjects = make_pytorch_subjects(*choice.pytorch, model, pytorch);
    if (plan.has_open_loops) leave_out_compiled(lineup.subjects, not_measured);
  }
  if (!choice.iol) return lineup;
  if (!lineup.ladder) {
    for (const double slow_steps : options.slow_steps) {
      const auto number = lineup.ours.size() + 1;
      const auto name =
          number == 1 ? std::string(kIolName) : fmt::format("{}-{}", kIolName, number);
      lineup.subjects.push_back(make_iol_subject(engine, name, slow_steps));
      lineup.ours.push_back({name, engine});
    }
    return lineup;
  }
  for (auto& subject : make_rung_subjects(*lineup.ladder)) {
    lineup.subjects.push_back(std::move(subject));
  }
  for (const Rung& rung : lineup.ladder->rungs) {
    // Speculation has the quality of the rung before it: the same tokens.
    if (rung.engine && !rung.engine->speculation.enabled()) {
      lineup.ours.push_back({rung.subject, *rung.engine});
    }
  }
  return lineup;
}

json load_record(const ScenarioOptions& options, const Plan& plan) {
  json loads = json::array();
  for (const auto& load : plan.loads) {
    loads.push_back({{"scenario", load.point.scenario},
                     {"concurrency", load.point.concurrency},
                     {"requests", load.point.num_requests}});
    if (load.point.rate_req_s) loads.back()["rate_req_s"] = *load.point.rate_req_s;
  }
  json record = {{"loads", std::move(loads)},
                 {"input_tokens", options.input_tokens.text()},
                 {"output_tokens", options.output_tokens.text()},
                 {"repetitions", options.num_repetitions},
                 {"warm_ups", options.num_warm_ups}};
  if (options.trace) {
    record["input_tokens"] = record["output_tokens"] = "trace";
    record["trace"] = {{"file", options.trace->path.filename().string()},
                       {"requests_read", options.trace->entries.size()},
                       {"left_out_without_answer", options.trace->failed},
                       {"left_out_longer_than_context", options.trace->too_long},
                       {"shares_prefixes", options.trace->shares_prefixes},
                       {"speed", options.trace_speed}};
  }
  if (!options.lengths_are_known) record["output_limit"] = "the longest output of the plan";
  return record;
}

void create_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error || !std::filesystem::is_directory(folder)) {
    throw_resource_error("-o {}: can't create this folder: {}", folder.string(),
                         error ? error.message() : "a file of that name exists");
  }
  if (std::filesystem::exists(folder / "records.jsonl")) {
    throw_input_error("-o {}: holds the records of another run; choose another folder",
                      folder.string());
  }
}

std::string safe_name(std::string text) {
  std::replace_if(
      text.begin(), text.end(),
      [](unsigned char c) { return std::isalnum(c) == 0 && c != '.' && c != '-' && c != '_'; },
      '-');
  const auto first = text.find_first_not_of("-.");
  return first == std::string::npos ? "model" : text.substr(first);
}

std::string gpu_uuid(const Device& device) {
  for (const auto& gpu : cuda_status().devices)
    if (gpu.index == device.index) return gpu.uuid;
  return {};
}

void note_what_gpu_hides(GpuMonitor& gpu, json& not_measured) {
  static_cast<void>(gpu.read(::getpid()));
  if (!gpu.unavailable_reason().empty()) {
    not_measured.push_back(
        {{"what", "the GPU's power and energy"}, {"why", gpu.unavailable_reason()}});
  } else if (gpu.missing().contains("power_w")) {
    not_measured.push_back({{"what", "the GPU's power"}, {"why", gpu.missing().at("power_w")}});
  }
}

/// What of a trace is not replayed is said, not swallowed.
void note_left_out(const BenchOptions& options, const TraceLoad& trace) {
  if (trace.failed + trace.too_long == 0) return;
  options.note(fmt::format(
      "--trace {}: {} requests are read; left out are {} longer than the model's context and {} "
      "without an answer",
      trace.path.string(), trace.entries.size(), trace.too_long, trace.failed));
}

/// What is known before the first run about what will be missing; `gpu` may be null.
void note_missing(GpuMonitor* gpu, const PackageEnergy& energy, json& not_measured) {
  if (!energy.unavailable_reason().empty()) {
    not_measured.push_back(
        {{"what", gpu != nullptr ? "the processor's power and energy" : "power and energy"},
         {"why", energy.unavailable_reason()}});
  }
  if (gpu != nullptr) note_what_gpu_hides(*gpu, not_measured);
}

std::string run_name() { return fmt::format("{}-{}", utc_time_text(), ::getpid()); }

}  // namespace

std::filesystem::path default_output_folder(const std::string& model) {
  std::string time = utc_time_text();
  std::erase(time, ':');
  const auto base = std::filesystem::path(model).lexically_normal();
  const auto leaf = base.has_filename() ? base.filename() : base.parent_path().filename();
  const std::string name = time + "-" + safe_name(leaf.string());
  std::filesystem::path folder = std::filesystem::path("results") / name;
  for (int number = 2; std::filesystem::exists(folder); ++number) {
    folder = std::filesystem::path("results") / fmt::format("{}-{}", name, number);
  }
  return folder;
}

bool run_bench(const BenchOptions& options) {
  json not_measured = json::array();
  const BenchModel model = load_bench_model(options.model, options.engine);
  const EngineChoice choice =
      choose_engines({options.engines, model, options.engine.device}, not_measured);
  if (options.ladder && !choice.iol) {
    throw_input_error("--ladder: its rungs are those of iol; add iol to --engines");
  }
  const PromptSource prompts = load_prompt_source(model);
  ScenarioOptions scenario = options.scenario;
  if (options.trace) {
    scenario.trace =
        read_trace_load(*options.trace, scenario.num_requests.value_or(kMostTraceRequests),
                        model.config.max_position_embeddings);
  }
  if (options.ladder) scenario.static_batch = ladder_kv_sequences(*options.ladder, scenario);
  if (has_sweep(scenario) && options.slo.is_null()) {
    throw_input_error("--scenario sweep: which objectives? Give --slo");
  }
  const Plan plan = make_plan(scenario, prompts, model.config.max_position_embeddings);
  const EngineConfig engine = engine_for(options, model, plan);
  Lineup lineup = make_lineup(options, scenario, choice, model, plan, engine, not_measured);
  const auto tokenizer = choice.endpoints.empty() ? nullptr : load_tokenizer(model);
  add_servers(options, choice, tokenizer.get(), lineup.subjects, not_measured);
  create_folder(options.output_folder);
  if (options.note) {  // behind all that may be refused, which is one line
    if (!choice.note.empty()) options.note(choice.note);
    if (scenario.trace) note_left_out(options, *scenario.trace);
  }
  MemoryCanary canary(engine.device, engine.num_threads);
  PackageEnergy energy;
  std::optional<GpuMonitor> gpu;
  if (engine.device.kind == DeviceKind::kCuda) gpu.emplace(gpu_uuid(engine.device));
  note_missing(gpu ? &*gpu : nullptr, energy, not_measured);
  RecordWriter records(options.output_folder / "records.jsonl", run_name());
  RunIdentity identity;
  identity.command = options.command;
  identity.seed = scenario.seed;
  identity.num_threads = engine.num_threads;
  identity.device = engine.device;
  identity.canary_read_bytes_per_s = canary.read_bytes_per_s();
  identity.canary_buffer_bytes = canary.buffer_bytes();
  identity.load = load_record(scenario, plan);
  identity.not_measured = std::move(not_measured);
  json environment = environment_record(identity);
  if (!options.slo.is_null()) environment["slo"] = options.slo;
  if (lineup.ladder) environment["ladder"] = ladder_record(*lineup.ladder);
  records.write("environment", std::move(environment));
  RequestMaker maker(scenario, prompts, model.config.max_position_embeddings);
  const SweepInputs sweep{scenario, maker,
                          scenario.rates_req_s.empty() ? 1 : scenario.rates_req_s.front(),
                          options.slo};
  const bool completed = run_bench(RunnerInputs{.plan = plan,
                                                .sweep = has_sweep(scenario) ? &sweep : nullptr,
                                                .model = model,
                                                .subjects = lineup.subjects,
                                                .records = records,
                                                .canary = canary,
                                                .energy = energy,
                                                .gpu = gpu ? &*gpu : nullptr,
                                                .interrupted = options.interrupted,
                                                .note = options.note,
                                                .leaves_out_failing = options.ladder.has_value(),
                                                .traces_steps = options.traces_steps,
                                                .silence_seconds = options.silence_seconds,
                                                .shows_progress = options.shows_progress});
  if (!completed || model.synthetic()) return completed;
  try {
    record_quality({model, lineup.ours, prompts, scenario.seed, options.interrupted}, records);
  } catch (const Interrupted&) {
    return false;
  }
  return true;
}

}  // namespace iol::bench
