#include "bench/quality/format_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/random.h"
#include "bench/bench_model.h"
#include "bench/canary.h"
#include "bench/load_generator.h"
#include "model/memory_plan.h"
#include "model/resolve.h"

namespace iol::bench {
namespace {

constexpr const char* kAll = "none,int8,int8-wo,fp8,int4:128,int4:64,int4:32,kv-int8,kv-fp8";

[[noreturn]] void refuse(const std::string& name) {
  throw_input_error(
      "--formats: '{}' is unknown; expected all, or of none, int8, int8-wo, fp8, int4[:GROUP], "
      "kv-int8, kv-fp8, also joined as int8+kv-int8",
      name);
}

void add_weight_format(const std::string& part, const std::string& name, FormatChoice& choice) {
  const auto colon = part.find(':');
  const auto format = parse_weight_format(part.substr(0, colon));
  if (!format) refuse(name);
  choice.quantization.format = *format;
  if (colon == std::string::npos) return;
  const char* begin = part.data() + colon + 1;
  const char* end = part.data() + part.size();
  const auto [rest, error] = std::from_chars(begin, end, choice.quantization.group_size);
  const int group = choice.quantization.group_size;
  if (error != std::errc() || rest != end || !traits_of(*format).grouped || group < 16 ||
      group % 16 != 0) {
    refuse(name);
  }
}

FormatChoice parse_choice(const std::string& name) {
  constexpr std::string_view kKvPrefix = "kv-";
  FormatChoice choice;
  choice.name = name;
  for (std::size_t begin = 0; begin <= name.size();) {
    const auto end = std::min(name.find('+', begin), name.size());
    const std::string part = name.substr(begin, end - begin);
    if (part.starts_with(kKvPrefix)) {
      choice.kv_dtype = parse_dtype(part.substr(kKvPrefix.size()));
      if (!choice.kv_dtype) refuse(name);
    } else {
      add_weight_format(part, name, choice);
    }
    begin = end + 1;
  }
  return choice;
}

EngineConfig engine_for(const FormatTableOptions& options, const FormatChoice& format) {
  EngineConfig config = options.engine;
  config.quant.format = format.quantization.format;
  config.quant.group_size = format.quantization.group_size;
  if (format.quantization.format == WeightFormat::kNone) config.quant = {};
  if (format.kv_dtype) config.kv_dtype = format.kv_dtype;
  config.max_batch = 1;
  config.max_context = 0;
  config.kv_cache_tokens = options.prompt_tokens + options.output_tokens + 2 * config.block_size;
  config.prefix_cache = false;
  return config;
}

/// Tokens per second of one stream, from its first token to its last.
double decode_speed(Engine& engine, const FormatTableOptions& options) {
  Load load;
  WorkloadRequest request;
  RandomStream random(options.engine.seed);
  for (int i = 0; i < options.prompt_tokens; ++i) {
    request.prompt_tokens.push_back(static_cast<std::int32_t>(
        random.below(static_cast<std::uint64_t>(engine.model_config().vocab_size))));
  }
  request.output_tokens = options.output_tokens;
  const std::vector<WorkloadRequest> requests{request};
  load.concurrency = 1;
  load.requests = requests;
  const RunResult result = run_load(engine, load, [](std::int64_t) {});
  if (result.requests.at(0).error) throw Error(*result.requests[0].error);
  const auto& times = result.requests[0].token_times_ns;
  return static_cast<double>(times.size() - 1) /
         (static_cast<double>(times.back() - times.front()) * 1e-9);
}

/// What a decode step must read, at the mean context of the run.
double bytes_per_token(const Engine& engine, const FormatTableOptions& options,
                       const FormatChoice& format) {
  const EngineConfig& config = engine.config();
  const auto weights = weight_bytes_per_step(engine.model_config(), *config.dtype,
                                             engine_for(options, format).quant);
  const auto kv =
      kv_bytes_per_token(engine.model_config(), config.kv_dtype.value_or(*config.dtype));
  const double mean_context = options.prompt_tokens + options.output_tokens / 2.0;
  return static_cast<double>(weights) + mean_context * static_cast<double>(kv);
}

void measure_speed(const FormatTableOptions& options, FormatTable& table) {
  MemoryCanary canary(options.engine.device, options.engine.num_threads);
  for (int round = 0; round < options.num_rounds; ++round) {
    for (auto& row : table.rows) {
      options.on_step(
          fmt::format("{}: speed, round {} of {}", row.format.name, round + 1, options.num_rounds));
      const auto engine = Engine::create(engine_for(options, row.format));
      static_cast<void>(decode_speed(*engine, options));  // warm-up
      row.read_bytes_per_s.push_back(canary.read_bytes_per_s());
      row.decode_tok_s.push_back(decode_speed(*engine, options));
      table.isa = engine->backend_name();
      row.weights_bytes = engine->memory().weights_bytes;
      row.bits_per_weight = 8.0 * static_cast<double>(row.weights_bytes) /
                            static_cast<double>(num_parameters(engine->model_config()));
      row.bytes_per_token = bytes_per_token(*engine, options, row.format);
    }
  }
}

void measure_all_quality(const FormatTableOptions& options, std::vector<FormatRow>& rows) {
  LoadedModel reference = load_model(engine_for(options, rows.front().format));
  const auto tokens = options.text_tokens(reference);
  for (auto& row : rows) {
    const auto progress = [&](std::int64_t done, std::int64_t total) {
      options.on_step(fmt::format("{}: quality, {} %", row.format.name, 100 * done / total));
    };
    if (&row == &rows.front()) {
      row.quality = measure_quality(reference, nullptr, tokens, options.quality, progress);
      continue;
    }
    LoadedModel model = load_model(engine_for(options, row.format));
    row.quality = measure_quality(model, &reference, tokens, options.quality, progress);
  }
}

}  // namespace

std::vector<FormatChoice> parse_formats(const std::string& text) {
  const std::string names = text == "all" ? kAll : text;
  std::vector<FormatChoice> choices{parse_choice("none")};
  for (std::size_t begin = 0; begin <= names.size();) {
    const auto end = std::min(names.find(',', begin), names.size());
    FormatChoice choice = parse_choice(names.substr(begin, end - begin));
    const bool repeated = std::any_of(choices.begin(), choices.end(),
                                      [&](const auto& other) { return other.name == choice.name; });
    if (!repeated) choices.push_back(std::move(choice));
    begin = end + 1;
  }
  return choices;
}

FormatTable measure_formats(const FormatTableOptions& options) {
  FormatTable table;
  table.model = options.engine.model;
  table.synthetic = resolve_model(options.engine.model).synthetic.has_value();
  table.text = options.text;
  table.num_threads = options.engine.num_threads;
  table.num_rounds = options.num_rounds;
  table.prompt_tokens = options.prompt_tokens;
  table.output_tokens = options.output_tokens;
  for (const auto& format : options.formats) {
    table.rows.emplace_back();
    table.rows.back().format = format;
  }
  measure_speed(options, table);
  if (options.text_tokens) measure_all_quality(options, table.rows);
  return table;
}

}  // namespace iol::bench
