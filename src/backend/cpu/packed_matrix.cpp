#include "backend/cpu/packed_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace iol::cpu {
namespace {

void check_dtype(const HostTensor& tensor) {
  if (tensor.dtype != DType::kF32 && tensor.dtype != DType::kF16 && tensor.dtype != DType::kBF16) {
    throw_input_error("weights of type {} are not supported; expected f32, f16 or bf16",
                      dtype_name(tensor.dtype));
  }
}

/// Elements [first, first + out.size()) of a tensor as f32.
void read_elements(const HostTensor& tensor, std::int64_t first, std::span<float> out) {
  if (tensor.dtype == DType::kF32) {
    std::memcpy(out.data(), tensor.data + first * 4, out.size_bytes());
    return;
  }
  const std::byte* in = tensor.data + first * 2;
  const auto convert = [&](auto to_f32) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      std::uint16_t bits;
      std::memcpy(&bits, in + i * 2, sizeof(bits));
      out[i] = to_f32(bits);
    }
  };
  tensor.dtype == DType::kBF16 ? convert(bf16_to_f32) : convert(f16_to_f32);
}

/// The part and the row in it that stacked row `row` comes from.
struct RowOrigin {
  const HostTensor* part;
  std::int64_t row;
};

RowOrigin origin_of(const StackedMatrix& source, std::int64_t row) {
  if (source.stacking == Stacking::kInterleaved) {
    const auto num_parts = static_cast<std::int64_t>(source.parts.size());
    const std::int64_t block = row / kBlockColumns;
    return {&source.parts[static_cast<std::size_t>(block % num_parts)],
            block / num_parts * kBlockColumns + row % kBlockColumns};
  }
  for (const auto& part : source.parts) {
    if (row < part.shape[0]) return {&part, row};
    row -= part.shape[0];
  }
  IOL_CHECK(!"row outside the stacked matrix");
}

std::int64_t stacked_rows(const StackedMatrix& source) {
  IOL_CHECK(!source.parts.empty());
  std::int64_t rows = 0;
  for (const auto& part : source.parts) rows += part.shape[0];
  if (source.stacking == Stacking::kInterleaved) {
    // Blocks of 16 alternate, so every part is padded to whole blocks.
    const std::int64_t blocks = (source.parts[0].shape[0] + kBlockColumns - 1) / kBlockColumns;
    rows = blocks * kBlockColumns * static_cast<std::int64_t>(source.parts.size());
  }
  return rows;
}

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
    : dtype_(source.format == WeightFormat::kInt8 ? DType::kI8 : dtype),
      num_rows_(stacked_rows(source)),
      num_columns_(source.parts.at(0).shape.at(1)),
      padded_columns_((num_columns_ + step() - 1) / step() * step()),
      buffer_(static_cast<std::size_t>(num_panels() * kPanelColumns * padded_columns_) *
              dtype_bytes(dtype_)) {
  for (const auto& part : source.parts)
    IOL_CHECK(part.shape.size() == 2 && part.shape[1] == num_columns_);
  static_cast<void>(element_of(dtype));
  for (const auto& part : source.parts) check_dtype(part);
  if (is_int8()) {
    pack_int8(source, threads);
  } else if (dtype == DType::kBF16) {
    pack<std::uint16_t>(source, threads, f32_to_bf16);
  } else if (dtype == DType::kF16) {
    pack<std::uint16_t>(source, threads, f32_to_f16);
  } else {
    pack<float>(source, threads, [](float value) { return value; });
  }
}

std::int64_t PackedMatrix::step() const {
  return dtype_ == DType::kBF16 ? 2 : dtype_ == DType::kI8 ? 4 : 1;
}

template <class Destination, class Write>
void PackedMatrix::pack_rows(const StackedMatrix& source, ThreadPool& threads, Write write) {
  auto* packed = reinterpret_cast<Destination*>(buffer_.data());
  const std::int64_t part_rows = source.parts[0].shape[0];
  threads.for_ranges(num_panels(), 1, [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<float> values(static_cast<std::size_t>(num_columns_));
    const std::int64_t last_row = std::min(end * kPanelColumns, num_rows_);
    for (std::int64_t row = begin * kPanelColumns; row < last_row; ++row) {
      const RowOrigin origin = origin_of(source, row);
      if (source.stacking == Stacking::kInterleaved && origin.row >= part_rows)
        continue;  // padding
      Destination* out = packed + row / kPanelColumns * padded_columns_ * kPanelColumns +
                         row % kPanelColumns * step();
      if (dtype_ == DType::kBF16 && origin.part->dtype == DType::kBF16) {
        pack_bf16_row(origin, num_columns_, reinterpret_cast<std::uint16_t*>(out));
        continue;
      }
      read_elements(*origin.part, origin.row * num_columns_, values);
      write(row, values, out);
    }
  });
}

template <class Destination, class Convert>
void PackedMatrix::pack(const StackedMatrix& source, ThreadPool& threads, Convert convert) {
  const std::int64_t stride = kPanelColumns * step();
  pack_rows<Destination>(
      source, threads, [&](std::int64_t, std::span<const float> values, Destination* out) {
        for (std::int64_t k = 0; k < num_columns_; ++k)
          out[k / step() * stride + k % step()] = convert(values[static_cast<std::size_t>(k)]);
      });
}

void PackedMatrix::pack_int8(const StackedMatrix& source, ThreadPool& threads) {
  const std::int64_t stride = kPanelColumns * step();
  scales_.resize(static_cast<std::size_t>(num_panels() * kPanelColumns));
  offsets_.resize(scales_.size());
  pack_rows<std::int8_t>(
      source, threads, [&](std::int64_t row, std::span<const float> values, std::int8_t* out) {
        float largest = 0;
        for (const float value : values) largest = std::max(largest, std::abs(value));
        const float inverse = largest > 0 ? 127.0F / largest : 0.0F;
        std::int32_t sum = 0;
        for (std::int64_t k = 0; k < num_columns_; ++k) {
          const float scaled = std::nearbyint(values[static_cast<std::size_t>(k)] * inverse);
          const auto quantized = static_cast<std::int8_t>(std::clamp(scaled, -127.0F, 127.0F));
          out[k / step() * stride + k % step()] = quantized;
          sum += quantized;
        }
        scales_[static_cast<std::size_t>(row)] = largest / 127.0F;
        offsets_[static_cast<std::size_t>(row)] = -128 * sum;
      });
}

Element PackedMatrix::element() const { return is_int8() ? Element::kInt8 : element_of(dtype_); }

void PackedMatrix::copy_row(std::int64_t row, float* out) const {
  const std::int64_t base =
      row / kPanelColumns * padded_columns_ * kPanelColumns + row % kPanelColumns * step();
  const std::int64_t stride = kPanelColumns * step();
  const auto* halves = reinterpret_cast<const std::uint16_t*>(buffer_.data()) + base;
  switch (dtype_) {
    case DType::kI8: {
      const auto* bytes = reinterpret_cast<const std::int8_t*>(buffer_.data()) + base;
      const float scale = scales_[static_cast<std::size_t>(row)];
      for (std::int64_t k = 0; k < num_columns_; ++k)
        out[k] = static_cast<float>(bytes[k / 4 * stride + k % 4]) * scale;
      return;
    }
    case DType::kBF16:
      for (std::int64_t k = 0; k < num_columns_; ++k)
        out[k] = bf16_to_f32(halves[k / 2 * stride + k % 2]);
      return;
    case DType::kF16:
      for (std::int64_t k = 0; k < num_columns_; ++k) out[k] = f16_to_f32(halves[k * stride]);
      return;
    default: {
      const auto* values = reinterpret_cast<const float*>(buffer_.data()) + base;
      for (std::int64_t k = 0; k < num_columns_; ++k) out[k] = values[k * stride];
    }
  }
}

PackedVector::PackedVector(const StackedMatrix& source) {
  StackedMatrix as_rows = source;
  for (auto& part : as_rows.parts) {
    IOL_CHECK(part.shape.size() == 1);
    part.shape.push_back(1);
  }
  size_ = stacked_rows(as_rows);
  values_.resize(
      static_cast<std::size_t>((size_ + kPanelColumns - 1) / kPanelColumns * kPanelColumns));
  for (std::int64_t i = 0; i < size_; ++i) {
    const RowOrigin origin = origin_of(as_rows, i);
    if (origin.row < origin.part->shape[0])
      read_elements(*origin.part, origin.row, {&values_[static_cast<std::size_t>(i)], 1});
  }
}

}  // namespace iol::cpu
