#pragma once
// --calibration: the weights of a model, rescaled for a quantization by what they do to a text.
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/engine.h"
#include "engine_options.h"
#include "model/config.h"
#include "model/weight_source.h"

namespace iol::cli {

struct CalibrationArguments {
  std::string text;  // a UTF-8 file; empty: no calibration
  std::int64_t max_tokens = 16384;
};

void add_calibration_options(CLI::App& command, CalibrationArguments& arguments);

struct CalibratedSource {
  std::unique_ptr<WeightSource> weights;
  nlohmann::json record;  // for the manifest
};

/// Calibrates `weights`, the model in `folder`, for engine.quant. Shows a progress bar.
/// Throws InputError for a text that is not UTF-8 or too short, and what calibrate() throws.
CalibratedSource calibrate_source(const CalibrationArguments& arguments,
                                  const CommonOptions& common, const EngineConfig& engine,
                                  const ModelConfig& config, const std::filesystem::path& folder,
                                  std::unique_ptr<WeightSource> weights);

/// Says on stderr when `text` is what the engine directory `model` was calibrated on.
void warn_of_calibration_text(const std::string& model, const std::string& text);

}  // namespace iol::cli
