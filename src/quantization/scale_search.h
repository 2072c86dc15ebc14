#pragma once
// The part that SmoothQuant and AWQ share: which of several scales changes a site's output least.
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "backend/weight_format.h"
#include "base/thread_pool.h"
#include "model/weight_source.h"
#include "quantization/calibration_statistics.h"
#include "quantization/scaling_sites.h"

namespace iol {

/// The consumers of a site, leased, as one matrix [sum N_i, K].
class SiteWeights {
 public:
  /// Throws InputError when a matrix is missing or has another shape than the configuration
  /// implies, when it is quantized already, and when a weight is NaN or infinite.
  SiteWeights(const ScalingSite& site, WeightSource& source, ThreadPool& threads);

  [[nodiscard]] std::int64_t num_rows() const { return num_rows_; }
  [[nodiscard]] std::int64_t num_columns() const { return num_columns_; }
  /// out = W[n][first .. first + out.size())
  void read(std::int64_t n, std::int64_t first, std::span<float> out) const;
  /// [K] max over n of |W[n][k]|
  [[nodiscard]] const std::vector<float>& max_abs() const { return max_abs_; }

 private:
  std::vector<std::unique_ptr<WeightSource::Lease>> leases_;
  std::vector<std::int64_t> first_rows_;  // of each lease, and the end
  std::int64_t num_rows_ = 0;
  std::int64_t num_columns_ = 0;
  std::vector<float> max_abs_;
};

/// A scale to try: nothing stands for "no scaling".
struct Candidate {
  std::optional<double> strength;
  std::vector<float> columns;  // [K], > 0
};

/// sum over r, n of (X W^T - Q_x(X / s) Q_w(W s)^T)^2 / sum over r, n of (X W^T)^2, on the sampled
/// rows r and on every n-th row of W, at most kSearchRows of them. Q_w is quantize_row(); Q_x is
/// the format's quantization of activations per token where it has one (int8), else nothing.
class OutputError {
 public:
  static constexpr std::int64_t kSearchRows = 512;

  /// Keeps views of everything.
  OutputError(const SiteWeights& weights, const InputStatistics& inputs, WeightFormat format,
              std::int64_t group_size, ThreadPool& threads);
  [[nodiscard]] double of(const std::vector<float>& columns) const;

 private:
  void make_inputs(const std::vector<float>& columns, std::vector<float>& inputs) const;

  const SiteWeights& weights_;
  const InputStatistics& inputs_;
  WeightFormat format_;
  std::int64_t group_size_;
  ThreadPool& threads_;
  std::int64_t num_inputs_;      // R
  std::vector<float> searched_;  // [S, K] rows of W
  std::vector<float> outputs_;   // [S, R]
  double energy_ = 0;
};

/// The candidate with the least error, the first among equals, and the errors of it and of the
/// first candidate, which is "no scaling".
struct SearchResult {
  Candidate best;
  double error_before = 0;
  double error_after = 0;
};
SearchResult search_scales(const OutputError& error, std::vector<Candidate> candidates);

/// 0, 0.05, ..., 1
std::vector<double> strength_grid();

/// Divides by sqrt(min * max), so that scales lie around one.
void center_scales(std::vector<float>& scales);

}  // namespace iol
