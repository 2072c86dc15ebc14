#pragma once
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/device_memory.h"
#include "backend/cuda/matrix_view.h"
#include "base/thread_pool.h"

namespace iol::cuda {

/// A weight matrix in device memory, see MatrixView. Rows are padded to 64 with zeros.
class CudaMatrix final : public WeightMatrix {
 public:
  CudaMatrix(const MatrixView& view, WeightFormat format, DType dtype, std::int64_t num_rows);

  [[nodiscard]] std::int64_t num_rows() const override { return num_rows_; }
  [[nodiscard]] std::int64_t num_columns() const override { return view_.columns; }
  [[nodiscard]] DType dtype() const override;
  [[nodiscard]] std::size_t size_bytes() const override;
  [[nodiscard]] WeightFormat format() const { return format_; }
  [[nodiscard]] const MatrixView& view() const { return view_; }

  void set_scales(const std::vector<float>& scales);
  void set_zeros(const std::vector<std::uint8_t>& zeros);
  void set_input_order(const std::int32_t* order);

 private:
  MatrixView view_;
  WeightFormat format_;
  DType dtype_;
  std::int64_t num_rows_;
  DeviceBuffer data_, scales_, zeros_, input_order_;
};

/// f32 [N] in device memory, padded to 64 with zeros.
class CudaVector final : public WeightVector {
 public:
  explicit CudaVector(const StackedMatrix& source);
  [[nodiscard]] std::int64_t size() const override { return size_; }
  [[nodiscard]] const float* data() const { return data_.as<const float>(); }

 private:
  std::int64_t size_ = 0;
  DeviceBuffer data_;
};

/// Brings matrices to the device: rows are converted or quantized by the host's threads, through
/// two pinned buffers in turn, and put into their layout by the device.
class MatrixPacker {
 public:
  MatrixPacker(const Stream& stream, int num_threads);
  /// Throws InputError when a weight to be quantized is NaN or infinite.
  MatrixPtr pack(const StackedMatrix& source, DType dtype);

 private:
  struct Staging {
    PinnedBuffer host;
    DeviceBuffer device;
    Event free;
  };
  struct Numbers;  // scales and zero points of a quantized matrix
  void pack_part(const StackedMatrix& source, DType dtype, int part, int base_row,
                 const CudaMatrix& matrix, Numbers& numbers);

  const Stream& stream_;
  ThreadPool threads_;
  Staging staging_[2];
  int next_ = 0;
};

}  // namespace iol::cuda
