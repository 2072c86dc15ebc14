#include "quantization/calibration.h"

#include <algorithm>

#include "base/cpu.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "quantization/awq.h"
#include "quantization/scale_search.h"
#include "quantization/smoothquant.h"

namespace iol {
namespace {

bool is_kept(const Quantization& quantization, const ScalingSite& site) {
  for (const auto& consumer : site.consumers) {
    for (const auto& part : quantization.keep) {
      if (consumer.find(part) != std::string::npos) return true;
    }
  }
  return false;
}

void check_calibratable(const WeightSource& source, const Quantization& quantization,
                        const std::vector<ScalingSite>& sites) {
  if (!calibration_method(quantization.format)) {
    throw_input_error(
        "calibration does nothing for {}; use it with int8 (SmoothQuant) or int4 (AWQ)",
        weight_format_name(quantization.format));
  }
  if (source.quantization())
    throw_input_error("the model is quantized already; calibrate the one that it was made from");
  if (!traits_of(quantization.format).grouped) return;
  for (const auto& site : sites) {
    if (!is_kept(quantization, site) && site.num_columns % quantization.group_size != 0) {
      throw_input_error(
          "tensor '{}' has {} columns, which groups of {} don't divide; use a smaller group size",
          site.consumers[0], site.num_columns, quantization.group_size);
    }
  }
}

void add_clips(const ScalingSite& site, const ClipRatios& clip,
               std::map<std::string, TensorScaling>& scalings) {
  const std::int64_t num_groups = site.num_columns / clip.group_size;
  auto next = clip.steps.begin();
  for (std::size_t i = 0; i < site.consumers.size(); ++i) {
    ClipRatios& own = scalings[site.consumers[i]].clip;
    const auto end = next + site.consumer_rows[i] * num_groups;
    own.group_size = clip.group_size;
    own.steps.assign(next, end);
    next = end;
  }
}

SiteRecord calibrate_site(const ScalingSite& site, WeightSource& source,
                          const InputStatistics& inputs, const Quantization& quantization,
                          ThreadPool& threads, std::map<std::string, TensorScaling>& scalings) {
  const bool is_awq = quantization.format == WeightFormat::kInt4;
  const SiteWeights weights(site, source, threads);
  const OutputError error(weights, inputs, quantization.format, quantization.group_size, threads);
  SearchResult found =
      search_scales(error, is_awq ? awq_candidates(site, inputs)
                                  : smoothquant_candidates(site, inputs, weights.max_abs()));
  if (found.best.strength) add_scales(site, found.best.columns, scalings);
  if (is_awq) {
    add_clips(site,
              search_clips(weights, inputs, found.best.columns, quantization.group_size, threads),
              scalings);
  }
  return {site, found.best.strength, found.error_before, found.error_after};
}

}  // namespace

void add_scales(const ScalingSite& site, const std::vector<float>& columns,
                std::map<std::string, TensorScaling>& scalings) {
  std::vector<float> divisors(static_cast<std::size_t>(site.num_producer_rows));
  for (std::int64_t k = 0; k < site.num_columns; ++k)
    divisors[static_cast<std::size_t>(site.producer_row(k))] =
        1.0F / columns[static_cast<std::size_t>(k)];
  for (const auto& name : site.producers) scalings[name].rows = divisors;
  for (const auto& name : site.consumers) scalings[name].columns = columns;
}

std::optional<std::string_view> calibration_method(WeightFormat format) {
  if (format == WeightFormat::kInt8) return "smoothquant";
  if (format == WeightFormat::kInt4) return "awq";
  return std::nullopt;
}

nlohmann::json Calibration::record() const {
  nlohmann::json record = {{"method", method},         {"seed", seed},
                           {"tokens", num_tokens},     {"window_tokens", window_tokens},
                           {"sampled_rows", num_rows}, {"matrices", nlohmann::json::array()}};
  for (const auto& site : sites) {
    nlohmann::json entry = {{"layer", site.site.layer},
                            {"input", linear_input_name(site.site.input)},
                            {"error_before", site.error_before},
                            {"error_after", site.error_after},
                            {"strength", nullptr}};
    if (site.strength) entry["strength"] = *site.strength;
    record["matrices"].push_back(std::move(entry));
  }
  return record;
}

Calibration calibrate(const ModelConfig& config, WeightSource& source, Backend& backend,
                      const Quantization& quantization, std::span<const std::int32_t> tokens,
                      const CalibrationOptions& options, const CalibrationProgress& progress) {
  const auto sites = scaling_sites(config);
  check_calibratable(source, quantization, sites);
  auto statistics = gather_statistics(config, source, backend, tokens, options.statistics,
                                      [&](std::int64_t done, std::int64_t total) {
                                        if (progress) progress("statistics", done, total);
                                      });
  Calibration calibration;
  calibration.method = *calibration_method(quantization.format);
  calibration.quantization = quantization;
  calibration.seed = options.statistics.seed;
  calibration.num_tokens = static_cast<std::int64_t>(tokens.size());
  calibration.num_rows = options.statistics.num_rows;
  calibration.window_tokens = options.statistics.window_tokens;
  ThreadPool threads(options.num_threads > 0 ? options.num_threads : default_num_threads());
  for (std::size_t i = 0; i < sites.size(); ++i) {
    if (!is_kept(quantization, sites[i])) {
      calibration.sites.push_back(calibrate_site(sites[i], source, statistics[i], quantization,
                                                 threads, calibration.scalings));
    }
    statistics[i] = {};
    if (progress)
      progress("search", static_cast<std::int64_t>(i + 1), static_cast<std::int64_t>(sites.size()));
  }
  return calibration;
}

std::unique_ptr<WeightSource> apply_calibration(std::unique_ptr<WeightSource> source,
                                                Calibration calibration) {
  return std::make_unique<ScaledWeights>(std::move(source), std::move(calibration.scalings));
}

}  // namespace iol
