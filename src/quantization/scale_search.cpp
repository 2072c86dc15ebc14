#include "quantization/scale_search.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "backend/quantize_row.h"
#include "backend/read_elements.h"
#include "base/error.h"
#include "quantization/dot_products.h"

namespace iol {
namespace {

constexpr std::int64_t kBlockRows = 4;  // rows of W that pass over the inputs together

/// w <- the numbers that `format` stores for it.
void round_to_format(WeightFormat format, std::int64_t group_size, std::span<float> row,
                     QuantizedRow& scratch) {
  const bool is_finite = quantize_row(format, group_size, row, scratch);
  if (is_finite) dequantize_row(format, group_size, scratch, row);
}

double sum_of(const std::vector<double>& parts) {
  double sum = 0;
  for (const double part : parts) sum += part;
  return sum;
}

}  // namespace

SiteWeights::SiteWeights(const ScalingSite& site, WeightSource& source, ThreadPool& threads)
    : num_columns_(site.num_columns) {
  for (std::size_t i = 0; i < site.consumers.size(); ++i) {
    leases_.push_back(source.lease(site.consumers[i]));
    const HostTensor& tensor = leases_.back()->tensor();
    if (tensor.quantized != nullptr)
      throw_input_error("tensor '{}' is quantized already; calibration needs it plain",
                        site.consumers[i]);
    if (tensor.shape != std::vector<std::int64_t>{site.consumer_rows[i], num_columns_})
      throw_input_error("tensor '{}' has not the shape that config.json implies",
                        site.consumers[i]);
    first_rows_.push_back(num_rows_);
    num_rows_ += site.consumer_rows[i];
  }
  first_rows_.push_back(num_rows_);

  const auto columns = static_cast<std::size_t>(num_columns_);
  std::vector<std::vector<float>> largest(static_cast<std::size_t>(threads.num_threads()),
                                          std::vector<float>(columns));
  std::atomic<std::int64_t> bad_row{-1};
  threads.for_ranges(num_rows_, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    std::vector<float> row(columns);
    auto& mine = largest[static_cast<std::size_t>(thread)];
    for (std::int64_t n = begin; n < end; ++n) {
      read(n, 0, row);
      for (std::size_t k = 0; k < columns; ++k) {
        if (!std::isfinite(row[k])) bad_row.store(n);
        mine[k] = std::max(mine[k], std::abs(row[k]));
      }
    }
  });
  if (bad_row.load() >= 0) {
    const auto after = std::upper_bound(first_rows_.begin(), first_rows_.end(), bad_row.load());
    throw_input_error("tensor '{}' holds NaN or infinity; it can't be quantized",
                      site.consumers[static_cast<std::size_t>(after - first_rows_.begin() - 1)]);
  }
  max_abs_ = largest[0];
  for (const auto& other : largest) {
    for (std::size_t k = 0; k < columns; ++k) max_abs_[k] = std::max(max_abs_[k], other[k]);
  }
}

void SiteWeights::read(std::int64_t n, std::int64_t first, std::span<float> out) const {
  std::size_t part = 0;
  while (n >= first_rows_[part + 1]) ++part;
  read_elements(leases_[part]->tensor(), (n - first_rows_[part]) * num_columns_ + first, out);
}

OutputError::OutputError(const SiteWeights& weights, const InputStatistics& inputs,
                         WeightFormat format, std::int64_t group_size, ThreadPool& threads)
    : weights_(weights),
      inputs_(inputs),
      format_(format),
      group_size_(group_size),
      threads_(threads),
      num_inputs_(static_cast<std::int64_t>(inputs.rows.size()) / weights.num_columns()) {
  const std::int64_t columns = weights_.num_columns();
  const std::int64_t step = (weights_.num_rows() + kSearchRows - 1) / kSearchRows;
  const std::int64_t count = (weights_.num_rows() + step - 1) / step;
  searched_.resize(static_cast<std::size_t>(count * columns));
  outputs_.resize(static_cast<std::size_t>(count * num_inputs_));
  std::vector<double> energies(static_cast<std::size_t>(count));
  threads_.for_ranges(count, kBlockRows, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::span<float> row(searched_.data() + i * columns, static_cast<std::size_t>(columns));
      weights_.read(i * step, 0, row);
    }
    dot_products(searched_.data() + begin * columns, end - begin, inputs_.rows.data(), num_inputs_,
                 columns, outputs_.data() + begin * num_inputs_, num_inputs_);
    for (std::int64_t i = begin; i < end; ++i) {
      for (std::int64_t r = 0; r < num_inputs_; ++r) {
        const double y = outputs_[static_cast<std::size_t>(i * num_inputs_ + r)];
        energies[static_cast<std::size_t>(i)] += y * y;
      }
    }
  });
  energy_ = sum_of(energies);
}

void OutputError::make_inputs(const std::vector<float>& columns, std::vector<float>& inputs) const {
  const auto num_columns = static_cast<std::int64_t>(columns.size());
  inputs.resize(inputs_.rows.size());
  threads_.for_ranges(num_inputs_, 1, [&](std::int64_t begin, std::int64_t end, int) {
    QuantizedRow scratch;
    for (std::int64_t r = begin; r < end; ++r) {
      const std::span<float> row(inputs.data() + r * num_columns, columns.size());
      const float* source = inputs_.rows.data() + r * num_columns;
      for (std::size_t k = 0; k < columns.size(); ++k) row[k] = source[k] / columns[k];
      if (format_ == WeightFormat::kInt8) round_to_format(format_, num_columns, row, scratch);
    }
  });
}

double OutputError::of(const std::vector<float>& columns) const {
  if (energy_ == 0) return 0;
  const auto num_columns = static_cast<std::int64_t>(columns.size());
  std::vector<float> inputs;
  make_inputs(columns, inputs);
  const std::int64_t count = static_cast<std::int64_t>(searched_.size()) / num_columns;
  std::vector<double> errors(static_cast<std::size_t>(count));
  threads_.for_ranges(count, kBlockRows, [&](std::int64_t begin, std::int64_t end, int) {
    QuantizedRow scratch;
    std::vector<float> block(static_cast<std::size_t>(kBlockRows * num_columns));
    std::vector<float> outputs(static_cast<std::size_t>(kBlockRows * num_inputs_));
    for (std::int64_t first = begin; first < end; first += kBlockRows) {
      const std::int64_t rows = std::min(kBlockRows, end - first);
      for (std::int64_t i = 0; i < rows; ++i) {
        const std::span<float> row(block.data() + i * num_columns, columns.size());
        const float* source = searched_.data() + (first + i) * num_columns;
        for (std::size_t k = 0; k < columns.size(); ++k) row[k] = source[k] * columns[k];
        round_to_format(format_, group_size_, row, scratch);
      }
      dot_products(block.data(), rows, inputs.data(), num_inputs_, num_columns, outputs.data(),
                   num_inputs_);
      for (std::int64_t i = 0; i < rows; ++i) {
        const float* wanted = outputs_.data() + (first + i) * num_inputs_;
        double& error = errors[static_cast<std::size_t>(first + i)];
        for (std::int64_t r = 0; r < num_inputs_; ++r) {
          const double difference =
              double{outputs[static_cast<std::size_t>(i * num_inputs_ + r)]} - double{wanted[r]};
          error += difference * difference;
        }
      }
    }
  });
  return sum_of(errors) / energy_;
}

SearchResult search_scales(const OutputError& error, std::vector<Candidate> candidates) {
  IOL_CHECK(!candidates.empty() && !candidates[0].strength);
  SearchResult result;
  result.error_before = error.of(candidates[0].columns);
  result.error_after = result.error_before;
  std::size_t best = 0;
  for (std::size_t i = 1; i < candidates.size(); ++i) {
    const double now = error.of(candidates[i].columns);
    if (now < result.error_after) {
      result.error_after = now;
      best = i;
    }
  }
  result.best = std::move(candidates[best]);
  return result;
}

std::vector<double> strength_grid() {
  std::vector<double> grid;
  for (int i = 0; i <= 20; ++i) grid.push_back(i / 20.0);
  return grid;
}

void center_scales(std::vector<float>& scales) {
  const auto [low, high] = std::minmax_element(scales.begin(), scales.end());
  const float center = std::sqrt(*low * *high);
  for (float& scale : scales) scale /= center;
}

}  // namespace iol
