#include "calibrated_source.h"

#include <fmt/format.h>

#include "backend/cpu/cpu_backend.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "bench/progress.h"
#include "commands.h"
#include "engine/memory_check.h"
#include "model/memory_plan.h"
#include "model/resolve.h"
#include "quantization/calibration.h"
#include "quantization/file_hash.h"
#include "quantization/manifest.h"
#include "tokenizer/tokenizer.h"

namespace iol::cli {
namespace {

constexpr const char* kTextHash = "text_sha256";

std::vector<std::int32_t> calibration_tokens(const CalibrationArguments& arguments,
                                             const std::filesystem::path& folder) {
  const bool has_tokenizer =
      path_exists(folder / "tokenizer.json") || path_exists(folder / "tokenizer.model");
  if (!has_tokenizer)
    throw_input_error("--calibration: '{}' has no tokenizer to read a text with", folder.string());
  const MappedFile file(arguments.text);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                              file.bytes().size());
  std::vector<std::int32_t> tokens;
  try {
    tokens = Tokenizer::load(folder)->encode(text, /*add_special_tokens=*/false);
  } catch (const InputError& error) {
    throw_input_error("--calibration {}: {}", arguments.text, error.what());
  }
  const auto wanted = static_cast<std::size_t>(arguments.max_tokens);
  if (tokens.size() > wanted) tokens.resize(wanted);
  return tokens;
}

}  // namespace

void add_calibration_options(CLI::App& command, CalibrationArguments& arguments) {
  command.add_option("--calibration", arguments.text,
                     "UTF-8 text file: scales for int8 (SmoothQuant) and int4 (AWQ) are searched "
                     "by output error; not the text you evaluate on");
  command
      .add_option("--calibration-tokens", arguments.max_tokens, "of the text, from its beginning")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30))
      ->capture_default_str();
}

CalibratedSource calibrate_source(const CalibrationArguments& arguments,
                                  const CommonOptions& common, const EngineConfig& engine,
                                  const ModelConfig& config, const std::filesystem::path& folder,
                                  std::unique_ptr<WeightSource> weights) {
  if (!calibration_method(engine.quant.format)) {
    throw_input_error(
        "--calibration does nothing for --quant {}; use it with int8 (SmoothQuant) or int4 (AWQ)",
        weight_format_name(engine.quant.format));
  }
  const auto tokens = calibration_tokens(arguments, folder);
  const DType dtype = engine.dtype.value_or(config.dtype);
  require_memory(weight_bytes(config, dtype, Quantization{}), "the unquantized model");
  const auto backend = make_cpu_backend({engine.isa, engine.num_threads, dtype});
  CalibrationOptions options;
  options.statistics.seed = common.seed;
  options.num_threads = engine.num_threads;
  bench::ProgressBar progress(shows_progress(common), 1);
  auto calibration =
      calibrate(config, *weights, *backend, engine.quant, tokens, options,
                [&](std::string_view stage, std::int64_t done, std::int64_t total) {
                  if (interrupted()) throw ExitCode{130};
                  progress.describe(fmt::format("calibration: {}", stage));
                  progress.advance_within(static_cast<double>(done) / static_cast<double>(total));
                });
  progress.clear();
  nlohmann::json record = calibration.record();
  record["text"] = std::filesystem::path(arguments.text).filename().string();
  record[kTextHash] = hash_file(arguments.text).sha256;
  return {apply_calibration(std::move(weights), std::move(calibration)), std::move(record)};
}

void warn_of_calibration_text(const std::string& model, const std::string& text) {
  const auto resolved = resolve_model(model);
  if (resolved.synthetic || !is_engine_directory(resolved.folder)) return;
  const Manifest manifest = load_manifest(resolved.folder);
  if (!manifest.calibration.is_object() || !manifest.calibration.contains(kTextHash)) return;
  if (manifest.calibration[kTextHash] != hash_file(text).sha256) return;
  fmt::print(
      stderr,
      "iol: warning: '{}' was calibrated on {}; its quality on other texts is likely worse\n",
      model, text);
}

}  // namespace iol::cli
