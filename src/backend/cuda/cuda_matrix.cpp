#include "backend/cuda/cuda_matrix.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/kernels/kernels.h"
#include "backend/quantize_row.h"
#include "backend/read_elements.h"
#include "backend/stacked_rows.h"
#include "backend/stored_weights.h"

namespace iol::cuda {
namespace {

constexpr std::int64_t kRowPadding = 64;
constexpr std::size_t kStagingBytes = std::size_t{32} << 20;

std::int64_t padded(std::int64_t size, std::int64_t step) {
  return (size + step - 1) / step * step;
}

MatrixLayout layout_of(WeightFormat format, DType dtype) {
  switch (format) {
    case WeightFormat::kInt8:
      return MatrixLayout::kInt8;
    case WeightFormat::kFp8:
      return MatrixLayout::kFp8;
    case WeightFormat::kInt4:
      return MatrixLayout::kInt4;
    case WeightFormat::kInt8WeightOnly:
      if (dtype == DType::kF32) return MatrixLayout::kInt8Rows;
      return dtype == DType::kBF16 ? MatrixLayout::kInt8Bf16 : MatrixLayout::kInt8F16;
    case WeightFormat::kNone:
      break;
  }
  if (dtype == DType::kF32) return MatrixLayout::kF32Rows;
  return dtype == DType::kBF16 ? MatrixLayout::kBf16 : MatrixLayout::kF16;
}

static_assert(kInterleavedRows == kTileRows, "a tile of gates, then its tile of ups");

MatrixView view_of(const StackedMatrix& source, DType dtype) {
  MatrixView view;
  view.layout = layout_of(source.format, dtype);
  view.rows = static_cast<int>(padded(stacked_rows(source), kRowPadding));
  view.columns = static_cast<int>(source.parts.at(0).shape.at(1));
  view.padded_columns = view.columns;
  if (view.layout == MatrixLayout::kInt4) {
    view.group_size = static_cast<int>(source.group_size);
    IOL_CHECK(view.group_size > 0 && view.group_size % 8 == 0 &&
              view.columns % view.group_size == 0);
    view.padded_group = static_cast<int>(padded(view.group_size, 32));
    view.num_groups = view.columns / view.group_size;
    view.padded_columns = static_cast<int>(padded(view.num_groups * view.padded_group, 64));
  } else if (!is_plain_rows(view.layout)) {
    view.padded_columns = static_cast<int>(padded(view.columns, is_half(view.layout) ? 32 : 64));
  }
  return view;
}

std::size_t data_bytes(const MatrixView& view) {
  const auto numbers =
      static_cast<std::size_t>(view.rows) * static_cast<std::size_t>(view.padded_columns);
  if (view.layout == MatrixLayout::kInt4) return numbers / 2;
  if (view.layout == MatrixLayout::kF32Rows) return numbers * 4;
  return is_half(view.layout) ? numbers * 2 : numbers;
}

template <class T>
DeviceBuffer upload_vector(const T* values, std::size_t count, std::string_view what) {
  DeviceBuffer buffer(count * sizeof(T), what);
  copy_to_device(buffer.data(), values, count * sizeof(T), what);
  return buffer;
}

/// One row of a plain matrix as `dtype`.
void convert_row(const HostTensor& part, std::int64_t row, std::int64_t columns, DType dtype,
                 std::byte* out) {
  const std::size_t bytes = static_cast<std::size_t>(columns) * dtype_bytes(dtype);
  if (part.dtype == dtype) {
    std::memcpy(out, part.data + static_cast<std::size_t>(row) * bytes, bytes);
    return;
  }
  std::vector<float> values(static_cast<std::size_t>(columns));
  read_elements(part, row * columns, values);
  if (dtype == DType::kF32) {
    std::memcpy(out, values.data(), bytes);
    return;
  }
  auto* halves = reinterpret_cast<std::uint16_t*>(out);
  for (std::size_t k = 0; k < values.size(); ++k)
    halves[k] = dtype == DType::kBF16 ? f32_to_bf16(values[k]) : f32_to_f16(values[k]);
}

}  // namespace

CudaMatrix::CudaMatrix(const MatrixView& view, WeightFormat format, DType dtype,
                       std::int64_t num_rows)
    : view_(view),
      format_(format),
      dtype_(dtype),
      num_rows_(num_rows),
      data_(data_bytes(view), "a weight matrix") {
  view_.data = data_.data();
}

DType CudaMatrix::dtype() const { return stored_dtype(format_, dtype_); }

std::size_t CudaMatrix::size_bytes() const {
  return data_.size_bytes() + scales_.size_bytes() + zeros_.size_bytes() +
         input_order_.size_bytes();
}

void CudaMatrix::set_scales(const std::vector<float>& scales) {
  scales_ = upload_vector(scales.data(), scales.size(), "the scales of a weight matrix");
  view_.scales = scales_.as<const float>();
}
void CudaMatrix::set_zeros(const std::vector<std::uint8_t>& zeros) {
  zeros_ = upload_vector(zeros.data(), zeros.size(), "the zero points of a weight matrix");
  view_.zeros = zeros_.as<const std::uint8_t>();
}
void CudaMatrix::set_input_order(const std::int32_t* order) {
  input_order_ = upload_vector(order, static_cast<std::size_t>(view_.columns),
                               "the input order of a weight matrix");
  view_.input_order = input_order_.as<const std::int32_t>();
}

CudaVector::CudaVector(const StackedMatrix& source) {
  const StackedMatrix as_rows = as_matrices(source);
  size_ = stacked_rows(as_rows);
  std::vector<float> values(static_cast<std::size_t>(padded(size_, kRowPadding)));
  std::int64_t base = 0;
  for (std::size_t p = 0; p < as_rows.parts.size(); ++p) {
    const HostTensor& part = as_rows.parts[p];
    for (std::int64_t row = 0; row < part.shape[0]; ++row) {
      const std::int64_t to = stacked_row(as_rows, static_cast<int>(p), base, row);
      read_elements(part, row, {&values[static_cast<std::size_t>(to)], 1});
    }
    base += part.shape[0];
  }
  data_ = upload_vector(values.data(), values.size(), "a weight vector");
}

/// As the device wants them: [N padded], in int4 [N / 16][groups][16].
struct MatrixPacker::Numbers {
  std::vector<float> scales;
  std::vector<std::uint8_t> zeros;
  std::atomic<bool> is_finite{true};

  void set(const MatrixView& view, std::int64_t row, const QuantizedRow& quantized) {
    if (view.layout != MatrixLayout::kInt4) {
      scales[static_cast<std::size_t>(row)] = quantized.scales[0];
      return;
    }
    for (int g = 0; g < view.num_groups; ++g) {
      const auto at = static_cast<std::size_t>((row / kTileRows * view.num_groups + g) * kTileRows +
                                               row % kTileRows);
      scales[at] = quantized.scales[static_cast<std::size_t>(g)];
      zeros[at] = quantized.zeros[static_cast<std::size_t>(g)];
    }
  }
};

MatrixPacker::MatrixPacker(const Stream& stream, int num_threads)
    : stream_(stream), threads_(num_threads) {}

MatrixPtr MatrixPacker::pack(const StackedMatrix& source, DType dtype) {
  const MatrixView view = view_of(source, dtype);
  for (const auto& part : source.parts) {
    IOL_CHECK(part.shape.size() == 2 && part.shape[1] == view.columns);
    if (part.quantized == nullptr) require_float_weights(part);
  }
  auto matrix = std::make_unique<CudaMatrix>(view, source.format, dtype, stacked_rows(source));
  Numbers numbers;
  if (source.format != WeightFormat::kNone) {
    const std::size_t groups =
        view.layout == MatrixLayout::kInt4 ? static_cast<std::size_t>(view.num_groups) : 1;
    numbers.scales.resize(static_cast<std::size_t>(view.rows) * groups);
    if (view.layout == MatrixLayout::kInt4) numbers.zeros.resize(numbers.scales.size());
  }
  int base_row = 0;
  for (int part = 0; part < static_cast<int>(source.parts.size()); ++part) {
    pack_part(source, dtype, part, base_row, *matrix, numbers);
    base_row += static_cast<int>(source.parts[static_cast<std::size_t>(part)].shape[0]);
  }
  if (!numbers.is_finite) throw_not_finite(source);
  if (!numbers.scales.empty()) matrix->set_scales(numbers.scales);
  if (!numbers.zeros.empty()) matrix->set_zeros(numbers.zeros);
  const QuantizedTensor* first = source.parts[0].quantized;
  if (first != nullptr && first->input_order != nullptr)
    matrix->set_input_order(first->input_order);
  return matrix;  // of the source all is in the staging buffers, whatever is on its way yet
}

void MatrixPacker::pack_part(const StackedMatrix& source, DType dtype, int part_index, int base_row,
                             const CudaMatrix& matrix, Numbers& numbers) {
  const HostTensor& part = source.parts[static_cast<std::size_t>(part_index)];
  const MatrixView& view = matrix.view();
  const std::int64_t columns = view.columns;
  const bool is_plain = source.format == WeightFormat::kNone;
  const std::size_t element_bytes = is_plain ? dtype_bytes(dtype) : 1;
  const std::size_t row_bytes = static_cast<std::size_t>(columns) * element_bytes;
  const auto chunk_rows =
      static_cast<std::int64_t>(std::max<std::size_t>(kStagingBytes / row_bytes, 1));
  for (std::int64_t first = 0; first < part.shape[0]; first += chunk_rows) {
    const std::int64_t rows = std::min(chunk_rows, part.shape[0] - first);
    Staging& staging = staging_[next_++ % 2];
    const std::size_t bytes = static_cast<std::size_t>(rows) * row_bytes;
    staging.free.synchronize();  // a fresh event is done
    if (staging.host.size_bytes() < bytes) {
      staging.host = PinnedBuffer(bytes, "a buffer for loading weights");
      staging.device = DeviceBuffer(bytes, "a buffer for loading weights");
    }
    threads_.for_ranges(rows, 1, [&](std::int64_t begin, std::int64_t end, int) {
      QuantizedRow quantized;
      std::vector<float> weights;
      for (std::int64_t r = begin; r < end; ++r) {
        std::byte* out = staging.host.data() + static_cast<std::size_t>(r) * row_bytes;
        const std::int64_t row = first + r;
        if (is_plain) {
          convert_row(part, row, columns, dtype, out);
          continue;
        }
        if (!quantized_row_of(source, part, row, weights, quantized)) {
          numbers.is_finite = false;
          continue;
        }
        std::memcpy(out, quantized.codes.data(), row_bytes);
        numbers.set(view, stacked_row(source, part_index, base_row, row), quantized);
      }
    });
    check(cudaMemcpyAsync(staging.device.data(), staging.host.data(), bytes, cudaMemcpyHostToDevice,
                          stream_.get()),
          "copying weights to the GPU");
    PackTask task;
    task.matrix = view;
    task.data = const_cast<void*>(view.data);
    task.source = staging.device.data();
    task.element_bytes = static_cast<int>(element_bytes);
    task.num_rows = static_cast<int>(rows);
    task.first_row = static_cast<int>(first);
    task.part = part_index;
    task.num_parts = static_cast<int>(source.parts.size());
    task.base_row = base_row;
    task.interleaved = source.stacking == Stacking::kInterleaved;
    pack_rows(task, stream_.get());
    check_launch("packing a weight matrix");
    staging.free.record(stream_);
  }
}

}  // namespace iol::cuda
