#include "bench/bench.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>

#include "backend/cuda/cuda_device.h"
#include "backend/kv_format.h"
#include "base/cpu.h"
#include "base/error.h"
#include "bench/environment.h"
#include "bench/iol_subject.h"
#include "bench/model_access.h"
#include "bench/pytorch_subject.h"
#include "bench/quality/quality.h"
#include "bench/records.h"
#include "bench/runner.h"
#include "engine/device_backend.h"

namespace iol::bench {
namespace {

using nlohmann::json;

constexpr const char* kIolName = "iol";
// Eight windows of the demo's context: seconds on it, a minute on a model of a billion.
constexpr std::int64_t kQualityTokens = 16384;

struct Engines {
  bool iol = false;
  std::optional<PythonEnvironment> pytorch;
};

bool wants(const BenchOptions& options, const std::string& engine) {
  if (!options.engines) return true;
  return std::find(options.engines->begin(), options.engines->end(), engine) !=
         options.engines->end();
}

/// Decides which engines run; what is left out by default goes into `not_measured`.
Engines choose_engines(const BenchOptions& options, const BenchModel& model, json& not_measured) {
  if (options.engines) {
    if (options.engines->empty()) throw_input_error("--engines: no engine is given");
    for (const auto& engine : *options.engines) {
      if (engine.starts_with("openai:")) {
        throw_input_error("--engines {}: OpenAI endpoints are not available yet; use pytorch, iol",
                          engine);
      }
      if (engine != "pytorch" && engine != "iol") {
        throw_input_error("--engines {}: expected pytorch or iol", engine);
      }
    }
  }
  Engines engines;
  engines.iol = wants(options, "iol");
  if (!wants(options, "pytorch")) return engines;
  if (model.built_from) {
    const std::string why = fmt::format(
        "'{}' is {}, which PyTorch can't load; bench the model that it was built from with --quant",
        model.name, model.built_from->what);
    if (options.engines) throw_input_error("--engines pytorch: {}", why);
    not_measured.push_back({{"what", "the PyTorch baseline"}, {"why", why}});
    if (options.note) options.note("without the PyTorch baseline: " + why);
    return engines;
  }
  auto environment = find_python_environment();
  if (environment.missing.empty() &&
      resolve_device(options.engine.device).kind == DeviceKind::kCuda)
    environment.missing = why_no_gpu_for(environment);
  if (environment.missing.empty()) {
    engines.pytorch = std::move(environment);
  } else if (options.engines) {
    throw_input_error("--engines pytorch: {}", environment.missing);
  } else {
    not_measured.push_back({{"what", "the PyTorch baseline"}, {"why", environment.missing}});
    if (options.note) options.note("without the PyTorch baseline: " + environment.missing);
  }
  return engines;
}

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
  if (config.max_batch == 0) config.max_batch = plan.max_concurrency;
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

std::vector<std::unique_ptr<Subject>> make_subjects(const BenchOptions& options,
                                                    const Engines& engines, const BenchModel& model,
                                                    const Plan& plan, const EngineConfig& engine) {
  std::vector<std::unique_ptr<Subject>> subjects;
  if (engines.pytorch) {
    subjects = make_pytorch_subjects(*engines.pytorch, model,
                                     {.device = engine.device,
                                      .num_threads = engine.num_threads,
                                      .max_request_tokens = plan.max_request_tokens,
                                      .seed = options.scenario.seed});
  }
  if (engines.iol) subjects.push_back(make_iol_subject(engine, kIolName));
  return subjects;
}

/// What to compare a quantized model with: itself unquantized, or what an engine directory was
/// built from. Nothing with a reason when that is gone.
struct QualityReference {
  std::optional<EngineConfig> engine;
  std::string missing;
};

QualityReference quality_reference(const BenchModel& model, const EngineConfig& engine) {
  QualityReference reference;
  const bool has_quantized_kv = engine.kv_dtype && is_quantized_kv(*engine.kv_dtype);
  if (engine.quant == Quantization{} && !has_quantized_kv) return reference;
  EngineConfig unquantized = engine;
  unquantized.quant = {};
  if (has_quantized_kv) unquantized.kv_dtype = std::nullopt;
  unquantized.verify = false;
  if (model.built_from) {
    if (!model.built_from->missing.empty()) {
      reference.missing = model.built_from->missing;
      return reference;
    }
    unquantized.model = model.built_from->folder.string();
  }
  reference.engine = std::move(unquantized);
  return reference;
}

/// Speed is worth what the quality beside it is: the perplexity of the configuration that ran, on
/// the beginning of the text that prompts were taken from. Loads the model again, in this process,
/// after everything else has been measured.
void record_quality(const BenchOptions& options, const BenchModel& bench_model,
                    const EngineConfig& engine, const PromptSource& prompts,
                    RecordWriter& records) {
  LoadedModel model = load_model(engine);
  const auto wanted = quality_reference(bench_model, engine);
  std::optional<LoadedModel> reference;
  if (wanted.engine) reference.emplace(load_model(*wanted.engine));
  const auto quality =
      measure_quality(model, reference ? &*reference : nullptr, prompts.text_tokens(),
                      {.max_tokens = kQualityTokens, .seed = options.scenario.seed},
                      [&](std::int64_t, std::int64_t) {
                        if (options.interrupted && options.interrupted()) throw Interrupted();
                      });
  json record = quality_json(quality);
  record.update({{"subject", kIolName},
                 {"text", "heldout.txt"},
                 {"tokens", quality.num_scored},
                 {"reference_model", reference ? json(reference->name) : json(nullptr)}});
  if (!wanted.missing.empty()) record["reference_note"] = wanted.missing;
  records.write("quality", std::move(record));
}

json load_record(const ScenarioOptions& options, const Plan& plan) {
  json loads = json::array();
  for (const auto& load : plan.loads) {
    loads.push_back({{"scenario", load.point.scenario},
                     {"concurrency", load.point.concurrency},
                     {"requests", load.point.num_requests}});
  }
  return {{"loads", std::move(loads)},
          {"input_tokens", options.input_tokens.text()},
          {"output_tokens", options.output_tokens.text()},
          {"repetitions", options.num_repetitions},
          {"warm_ups", options.num_warm_ups}};
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

json parse_slo(const std::string& text) {
  json slo = json::object();
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find(',', begin), text.size());
    const std::string item = text.substr(begin, end - begin);
    const auto equals = item.find('=');
    const std::string name = item.substr(0, equals);
    const char* const value = equals == std::string::npos ? "" : item.c_str() + equals + 1;
    double number = 0;
    const auto [rest, error] = std::from_chars(value, item.c_str() + item.size(), number);
    const std::string unit = error == std::errc() ? rest : "none";
    const bool known = name == "ttft" || name == "tpot" || name == "e2e";
    if (!known || !(number > 0) || !std::isfinite(number) || (unit != "ms" && unit != "s")) {
      throw_input_error("--slo {}: expected ttft=200ms,tpot=20ms,e2e=2s, any of the three", text);
    }
    slo[name + "_ms"] = unit == "s" ? number * 1000 : number;
    begin = end + 1;
  }
  return slo;
}

namespace {

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

}  // namespace

bool run_bench(const BenchOptions& options) {
  json not_measured = json::array();
  const BenchModel model = load_bench_model(options.model, options.engine);
  const Engines engines = choose_engines(options, model, not_measured);
  const PromptSource prompts = load_prompt_source(model);
  const Plan plan = make_plan(options.scenario, prompts, model.config.max_position_embeddings);
  const EngineConfig engine = engine_for(options, model, plan);
  auto subjects = make_subjects(options, engines, model, plan, engine);
  create_folder(options.output_folder);
  MemoryCanary canary(engine.device, engine.num_threads);
  PackageEnergy energy;
  if (!energy.unavailable_reason().empty()) {
    not_measured.push_back({{"what", "power and energy"}, {"why", energy.unavailable_reason()}});
  }
  std::optional<GpuMonitor> gpu;
  if (engine.device.kind == DeviceKind::kCuda) {
    gpu.emplace(gpu_uuid(engine.device));
    note_what_gpu_hides(*gpu, not_measured);
  }
  RecordWriter records(options.output_folder / "records.jsonl", run_name());
  RunIdentity identity;
  identity.command = options.command;
  identity.seed = options.scenario.seed;
  identity.num_threads = engine.num_threads;
  identity.device = engine.device;
  identity.canary_read_bytes_per_s = canary.read_bytes_per_s();
  identity.canary_buffer_bytes = canary.buffer_bytes();
  identity.load = load_record(options.scenario, plan);
  identity.not_measured = std::move(not_measured);
  json environment = environment_record(identity);
  if (!options.slo.is_null()) environment["slo"] = options.slo;
  records.write("environment", std::move(environment));
  const bool completed = run_bench(RunnerInputs{.plan = plan,
                                                .model = model,
                                                .subjects = subjects,
                                                .records = records,
                                                .canary = canary,
                                                .energy = energy,
                                                .gpu = gpu ? &*gpu : nullptr,
                                                .interrupted = options.interrupted,
                                                .silence_seconds = options.silence_seconds,
                                                .shows_progress = options.shows_progress});
  if (!completed || model.synthetic() || !engines.iol) return completed;
  try {
    record_quality(options, model, engine, prompts, records);
  } catch (const Interrupted&) {
    return false;
  }
  return true;
}

}  // namespace iol::bench
