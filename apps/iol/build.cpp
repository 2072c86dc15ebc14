// iol build MODEL -o DIR --quant Q: quantize once, into an engine directory.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "bench/progress.h"
#include "calibrated_source.h"
#include "commands.h"
#include "engine/loaded_model.h"
#include "engine_options.h"
#include "model/resolve.h"
#include "quantization/engine_directory.h"
#include "quantization/engine_directory_writer.h"

namespace iol::cli {
namespace {

struct BuildOptions {
  EngineOptions engine;
  std::string model;
  std::string output;
  CalibrationArguments calibration;
};

void print_result(const BuildOptions& options, const Quantization& quantization,
                  const BuildResult& result, double seconds) {
  if (options.engine.common.json) {
    fmt::print("{}\n", nlohmann::json{{"model", options.model},
                                      {"directory", options.output},
                                      {"quant", weight_format_name(quantization.format)},
                                      {"quantized_matrices", result.num_quantized},
                                      {"weights_bytes", result.weights_bytes},
                                      {"total_bytes", result.total_bytes},
                                      {"seconds", seconds}}
                           .dump());
    return;
  }
  fmt::print("{}: {} matrices in {}, {:.1f} MB of weights, {:.1f} s\n", options.output,
             result.num_quantized, weight_format_name(quantization.format),
             static_cast<double>(result.weights_bytes) / 1e6, seconds);
}

void build(const BuildOptions& options) {
  EngineConfig engine = engine_config(options.engine, options.model);
  const auto resolved = resolve_model(options.model);
  if (resolved.synthetic) {
    throw_input_error(
        "'{}' has random weights, which are made when they are needed; run it as it is, with "
        "--quant",
        options.model);
  }
  const ModelConfig config = load_model_config(resolved.folder);
  CalibratedSource source{open_weights(resolved.folder, options.engine.verify), nullptr};
  adopt_weights(*source.weights, engine);
  const std::int64_t start_ns = now_ns();
  if (!options.calibration.text.empty()) {
    source = calibrate_source(options.calibration, options.engine.common, engine, config,
                              resolved.folder, std::move(source.weights));
  }
  BuildRequest request;
  request.output = options.output;
  request.source_model = options.model;
  request.source_folder = resolved.folder;
  request.quantization = engine.quant;
  request.kv_dtype = engine.kv_dtype;
  request.calibration = source.record;
  request.num_threads = engine.num_threads > 0 ? engine.num_threads : default_num_threads();

  bench::ProgressBar progress(shows_progress(options.engine.common), 1);
  const auto result = write_engine_directory(
      request, config, *source.weights,
      [&](std::string_view what, std::int64_t done, std::int64_t total) {
        if (interrupted()) throw ExitCode{130};
        progress.describe(std::string(what));
        progress.advance_within(static_cast<double>(done) / static_cast<double>(total));
      });
  progress.clear();
  print_result(options, engine.quant, result, static_cast<double>(now_ns() - start_ns) / 1e9);
}

void run(const BuildOptions& options) {
  try {
    build(options);
  } catch (const ExitCode&) {
    fmt::print(stderr, "iol: interrupted; nothing was kept\n");
    throw;
  }
}

}  // namespace

void add_build_command(CLI::App& program) {
  auto options = std::make_shared<BuildOptions>();
  auto* command =
      program.add_subcommand("build", "Quantize a model once, into an engine directory");
  command
      ->add_option("MODEL", options->model,
                   "folder, Hub id in the local cache, demo, or an engine directory")
      ->required();
  command->add_option("-o,--output", options->output, "the directory to make; must not exist")
      ->required();
  add_common_options(*command, options->engine.common);
  add_quantization_options(*command, options->engine);
  command
      ->add_option("--kv-cache", options->engine.kv_cache,
                   "default of the directory: auto, bf16, f16, f32, int8 or fp8")
      ->capture_default_str();
  add_calibration_options(*command, options->calibration);
  command->add_flag("--verify", options->engine.verify,
                    "MODEL is an engine directory: check the SHA-256 of its weights first");
  command->footer(
      "The directory opens as MODEL in every command. It appears when it is whole, or not at all.\n"
      "Examples:\n"
      "  iol build demo -o demo-int8 --quant int8\n"
      "  iol build demo -o demo-int4 --quant int4 --calibration models/calibration.txt\n"
      "  iol build FOLDER -o engine --quant int4 --quant-group 64 --quant-keep down_proj\n"
      "  iol generate demo-int8 -p \"It was a dark night\" --verify");
  command->callback([options] { run(*options); });
}

}  // namespace iol::cli
