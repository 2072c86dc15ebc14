#include "backend/cpu/packed_matrix.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "backend/read_elements.h"
#include "backend/stacked_rows.h"
#include "backend/stored_weights.h"
#include "base/error.h"

namespace iol::cpu {
namespace {

static_assert(kInterleavedRows == kBlockColumns, "a block of gates, then its block of ups");

/// The common case, bf16 to bf16: pairs are copied whole.
void pack_bf16_row(const RowOrigin& origin, std::int64_t num_columns, std::uint16_t* out) {
  const std::byte* row = origin.part->data + origin.row * num_columns * 2;
  std::int64_t k = 0;
  for (; k + 2 <= num_columns; k += 2) std::memcpy(out + k * kPanelColumns, row + k * 2, 4);
  if (k < num_columns) std::memcpy(out + k * kPanelColumns, row + k * 2, 2);
}

}  // namespace

Element element_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return Element::kF32;
    case DType::kF16:
      return Element::kF16;
    case DType::kBF16:
      return Element::kBf16;
    default:
      throw_input_error("the CPU backend computes in f32, f16 or bf16, not in {}",
                        dtype_name(dtype));
  }
}

PackedMatrix::PackedMatrix(const StackedMatrix& source, DType dtype, ThreadPool& threads)
    : dtype_(dtype),
      format_(source.format),
      num_rows_(stacked_rows(source)),
      num_columns_(source.parts.at(0).shape.at(1)),
      padded_columns_((num_columns_ + step() - 1) / step() * step()),
      group_size_(traits_of(format_).grouped ? source.group_size : num_columns_),
      buffer_(packed_bytes()) {
  static_cast<void>(element_of(dtype));
  for (const auto& part : source.parts) {
    IOL_CHECK(part.shape.size() == 2 && part.shape[1] == num_columns_);
    if (part.quantized == nullptr) require_float_weights(part);
  }
  if (format_ != WeightFormat::kNone) {
    pack_quantized(source, threads);
  } else if (dtype == DType::kBF16) {
    pack_plain<std::uint16_t>(source, threads, f32_to_bf16);
  } else if (dtype == DType::kF16) {
    pack_plain<std::uint16_t>(source, threads, f32_to_f16);
  } else {
    pack_plain<float>(source, threads, [](float value) { return value; });
  }
}

DType PackedMatrix::dtype() const { return stored_dtype(format_, dtype_); }

Element PackedMatrix::element() const {
  switch (format_) {
    case WeightFormat::kInt8:
      return Element::kInt8;
    case WeightFormat::kInt8WeightOnly:
      return Element::kInt8WeightOnly;
    case WeightFormat::kFp8:
      return Element::kFp8;
    case WeightFormat::kInt4:
      return Element::kInt4;
    case WeightFormat::kNone:
      break;
  }
  return element_of(dtype_);
}

std::int64_t PackedMatrix::step() const {
  if (format_ == WeightFormat::kInt4) return 8;
  if (format_ != WeightFormat::kNone) return 4;
  return dtype_ == DType::kBF16 ? 2 : 1;
}

std::size_t PackedMatrix::packed_bytes() const {
  if (format_ == WeightFormat::kInt4) {
    IOL_CHECK(group_size_ > 0 && num_columns_ % group_size_ == 0);
    if (group_size_ % 16 != 0) {
      throw_input_error("int4 in groups of {}: kernels take groups in multiples of 16",
                        group_size_);
    }
    return static_cast<std::size_t>(num_panels() * (num_columns_ / group_size_) *
                                    int4_group_bytes(group_size_));
  }
  const std::size_t element_bytes = format_ == WeightFormat::kNone ? dtype_bytes(dtype_) : 1;
  return static_cast<std::size_t>(num_panels() * kPanelColumns * padded_columns_) * element_bytes;
}

template <class Write>
void PackedMatrix::for_each_row(const StackedMatrix& source, ThreadPool& threads, Write write) {
  threads.for_ranges(num_panels(), 1, [&](std::int64_t begin, std::int64_t end, int) {
    const std::int64_t last_row = std::min(end * kPanelColumns, num_rows_);
    for (std::int64_t row = begin * kPanelColumns; row < last_row; ++row) {
      const RowOrigin origin = origin_of(source, row);
      if (!origin.is_padding()) write(row, origin);
    }
  });
}

template <class Destination, class Convert>
void PackedMatrix::pack_plain(const StackedMatrix& source, ThreadPool& threads, Convert convert) {
  const std::int64_t stride = kPanelColumns * step();
  auto* packed = reinterpret_cast<Destination*>(buffer_.data());
  for_each_row(source, threads, [&](std::int64_t row, const RowOrigin& origin) {
    Destination* out = packed + row / kPanelColumns * padded_columns_ * kPanelColumns +
                       row % kPanelColumns * step();
    if (dtype_ == DType::kBF16 && origin.part->dtype == DType::kBF16) {
      pack_bf16_row(origin, num_columns_, reinterpret_cast<std::uint16_t*>(out));
      return;
    }
    std::vector<float> values(static_cast<std::size_t>(num_columns_));
    read_elements(*origin.part, origin.row * num_columns_, values);
    for (std::int64_t k = 0; k < num_columns_; ++k)
      out[k / step() * stride + k % step()] = convert(values[static_cast<std::size_t>(k)]);
  });
}

void PackedMatrix::pack_quantized(const StackedMatrix& source, ThreadPool& threads) {
  if (format_ != WeightFormat::kInt4)
    scales_.resize(static_cast<std::size_t>(num_panels() * kPanelColumns));
  if (format_ == WeightFormat::kInt8) offsets_.resize(scales_.size());
  const QuantizedTensor* first = source.parts[0].quantized;
  if (first != nullptr && first->input_order != nullptr)
    input_order_.assign(first->input_order, first->input_order + num_columns_);
  std::atomic<bool> is_finite{true};
  for_each_row(source, threads, [&](std::int64_t row, const RowOrigin& origin) {
    std::vector<float> weights;
    QuantizedRow quantized;
    if (!quantized_row_of(source, *origin.part, origin.row, weights, quantized)) {
      is_finite = false;
      return;
    }
    format_ == WeightFormat::kInt4 ? write_int4(row, quantized) : write_bytes(row, quantized);
  });
  if (!is_finite) throw_not_finite(source);
}

void PackedMatrix::write_bytes(std::int64_t row, const QuantizedRow& quantized) {
  auto* out = reinterpret_cast<std::uint8_t*>(buffer_.data()) +
              row / kPanelColumns * padded_columns_ * kPanelColumns + row % kPanelColumns * 4;
  const auto columns = static_cast<std::size_t>(num_columns_);
  std::int32_t sum = 0;
  for (std::size_t k = 0; k < columns; ++k) {
    out[k / 4 * kPanelColumns * 4 + k % 4] = quantized.codes[k];
    sum += static_cast<std::int8_t>(quantized.codes[k]);
  }
  scales_[static_cast<std::size_t>(row)] = quantized.scales[0];
  if (format_ == WeightFormat::kInt8) offsets_[static_cast<std::size_t>(row)] = -128 * sum;
}

const std::byte* PackedMatrix::int4_group(std::int64_t row, std::int64_t group) const {
  const std::int64_t num_groups = num_columns_ / group_size_;
  return buffer_.data() +
         (row / kPanelColumns * num_groups + group) * int4_group_bytes(group_size_);
}

void PackedMatrix::write_int4(std::int64_t row, const QuantizedRow& quantized) {
  const std::int64_t lane = row % kPanelColumns;
  for (std::int64_t g = 0; g < num_columns_ / group_size_; ++g) {
    auto* group = const_cast<std::byte*>(int4_group(row, g));
    std::memcpy(group + lane * 4, &quantized.scales[static_cast<std::size_t>(g)], 4);
    auto* zeros = reinterpret_cast<std::uint8_t*>(group + kInt4ZerosOffset);
    zeros[lane] = quantized.zeros[static_cast<std::size_t>(g)];
    auto* values = reinterpret_cast<std::uint8_t*>(group + kInt4ValuesOffset) + lane * 4;
    const std::uint8_t* codes = quantized.codes.data() + g * group_size_;
    for (std::int64_t k = 0; k < group_size_; k += 8) {
      for (std::int64_t i = 0; i < 4; ++i) {
        values[k / 8 * kPanelColumns * 4 + i] =
            static_cast<std::uint8_t>(codes[k + i] | codes[k + i + 4] << 4U);
      }
    }
  }
}

QuantizedRow PackedMatrix::quantized_row(std::int64_t row) const {
  QuantizedRow quantized;
  quantized.codes.resize(static_cast<std::size_t>(num_columns_));
  if (format_ != WeightFormat::kInt4) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(buffer_.data()) +
                        row / kPanelColumns * padded_columns_ * kPanelColumns +
                        row % kPanelColumns * 4;
    for (std::size_t k = 0; k < quantized.codes.size(); ++k)
      quantized.codes[k] = bytes[k / 4 * kPanelColumns * 4 + k % 4];
    quantized.scales = {scales_[static_cast<std::size_t>(row)]};
    return quantized;
  }
  const std::int64_t lane = row % kPanelColumns;
  for (std::int64_t g = 0; g < num_columns_ / group_size_; ++g) {
    const std::byte* group = int4_group(row, g);
    float scale;
    std::memcpy(&scale, group + lane * 4, 4);
    quantized.scales.push_back(scale);
    quantized.zeros.push_back(
        reinterpret_cast<const std::uint8_t*>(group + kInt4ZerosOffset)[lane]);
    const auto* values =
        reinterpret_cast<const std::uint8_t*>(group + kInt4ValuesOffset) + lane * 4;
    for (std::int64_t k = 0; k < group_size_; ++k) {
      const std::uint8_t pair = values[k / 8 * kPanelColumns * 4 + k % 4];
      quantized.codes[static_cast<std::size_t>(g * group_size_ + k)] =
          k % 8 < 4 ? pair & 15U : pair >> 4U;
    }
  }
  return quantized;
}

void PackedMatrix::copy_row(std::int64_t row, float* out) const {
  if (format_ != WeightFormat::kNone) {
    const auto columns = static_cast<std::size_t>(num_columns_);
    if (input_order_.empty())
      return dequantize_row(format_, group_size_, quantized_row(row), {out, columns});
    std::vector<float> stored(columns);
    dequantize_row(format_, group_size_, quantized_row(row), stored);
    for (std::size_t j = 0; j < columns; ++j) out[input_order_[j]] = stored[j];
    return;
  }
  const std::int64_t base =
      row / kPanelColumns * padded_columns_ * kPanelColumns + row % kPanelColumns * step();
  const std::int64_t stride = kPanelColumns * step();
  const auto* halves = reinterpret_cast<const std::uint16_t*>(buffer_.data()) + base;
  const auto* values = reinterpret_cast<const float*>(buffer_.data()) + base;
  for (std::int64_t k = 0; k < num_columns_; ++k) {
    if (dtype_ == DType::kBF16) {
      out[k] = bf16_to_f32(halves[k / 2 * stride + k % 2]);
    } else {
      out[k] = dtype_ == DType::kF16 ? f16_to_f32(halves[k * stride]) : values[k * stride];
    }
  }
}

PackedVector::PackedVector(const StackedMatrix& source) {
  const StackedMatrix as_rows = as_matrices(source);
  size_ = stacked_rows(as_rows);
  values_.resize(
      static_cast<std::size_t>((size_ + kPanelColumns - 1) / kPanelColumns * kPanelColumns));
  for (std::int64_t i = 0; i < size_; ++i) {
    const RowOrigin origin = origin_of(as_rows, i);
    if (!origin.is_padding())
      read_elements(*origin.part, origin.row, {&values_[static_cast<std::size_t>(i)], 1});
  }
}

}  // namespace iol::cpu
