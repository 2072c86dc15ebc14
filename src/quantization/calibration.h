#pragma once
// Calibration: scales and ranges that make a quantized model closer to the one it is made from,
// found by running that one over a text. SmoothQuant for int8, AWQ for int4.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "model/config.h"
#include "model/weight_source.h"
#include "quantization/calibration_statistics.h"
#include "quantization/scaled_weights.h"
#include "quantization/scaling_sites.h"

namespace iol {

/// "smoothquant", "awq"; nothing for formats that calibration does not help.
std::optional<std::string_view> calibration_method(WeightFormat format);

struct CalibrationOptions {
  StatisticsOptions statistics;
  int num_threads = 0;  // of the search; 0: default_num_threads()
};

/// What was chosen for one site.
struct SiteRecord {
  ScalingSite site;
  std::optional<double> strength;  // nothing: not scaled
  double error_before = 0;  // relative squared error of the output, as OutputError defines it
  double error_after = 0;   // with the scales; clipping comes on top
};

struct Calibration {
  std::string method;
  Quantization quantization;
  std::uint64_t seed = 0;
  std::int64_t num_tokens = 0;
  int num_rows = 0;
  int window_tokens = 0;
  std::vector<SiteRecord> sites;
  std::map<std::string, TensorScaling> scalings;  // by tensor name

  /// The method, what it was run with, and the strength and errors of every site: an object.
  [[nodiscard]] nlohmann::json record() const;
};

/// (stage: "statistics" or "search", done, in all)
using CalibrationProgress = std::function<void(std::string_view, std::int64_t, std::int64_t)>;

/// Calibrates the unquantized model that `source` holds for `quantization`. `backend` runs it; the
/// result depends on the model, the tokens, the options but num_threads, and the rounding of the
/// backend's kernels.
/// Throws InputError when the format has no method, when the model is quantized already, when a
/// group does not divide a matrix, and what gather_statistics() throws.
Calibration calibrate(const ModelConfig& config, WeightSource& source, Backend& backend,
                      const Quantization& quantization, std::span<const std::int32_t> tokens,
                      const CalibrationOptions& options, const CalibrationProgress& progress = {});

/// Adds what scaling the columns of a site's consumers by `columns` [K] does to its tensors: the
/// producers' rows are divided by the same numbers.
void add_scales(const ScalingSite& site, const std::vector<float>& columns,
                std::map<std::string, TensorScaling>& scalings);

/// `source` as calibrated: in exact arithmetic the same model, but for what is clipped.
std::unique_ptr<WeightSource> apply_calibration(std::unique_ptr<WeightSource> source,
                                                Calibration calibration);

}  // namespace iol
