#include "quantization/quantize_tensor.h"

#include <algorithm>
#include <cstring>

#include "backend/quantize_row.h"
#include "base/dtype.h"
#include "base/error.h"

namespace iol {
namespace {

// Pieces are large enough for the disk, and small enough to not matter beside a model.
constexpr std::int64_t kPieceBytes = 16 << 20;

void read_plain_row(const HostTensor& tensor, std::int64_t row, std::span<float> out) {
  const auto element_bytes = static_cast<std::int64_t>(dtype_bytes(tensor.dtype));
  const std::byte* in = tensor.data + row * static_cast<std::int64_t>(out.size()) * element_bytes;
  if (tensor.dtype == DType::kF32) {
    std::memcpy(out.data(), in, out.size_bytes());
    return;
  }
  for (std::size_t k = 0; k < out.size(); ++k) {
    std::uint16_t bits;
    std::memcpy(&bits, in + k * sizeof(bits), sizeof(bits));
    out[k] = tensor.dtype == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
  }
}

/// int4: two numbers to a byte, the even k in the low half.
void store_codes(WeightFormat format, const std::vector<std::uint8_t>& codes, std::byte* out) {
  if (format != WeightFormat::kInt4) {
    std::memcpy(out, codes.data(), codes.size());
    return;
  }
  for (std::size_t k = 0; k < codes.size(); k += 2)
    out[k / 2] = static_cast<std::byte>(codes[k] | codes[k + 1] << 4U);
}

void check_taken(const QuantizedTensor& tensor, const std::string& name, WeightFormat format,
                 std::int64_t group_size) {
  if (tensor.format != format || tensor.group_size != group_size) {
    throw_input_error("tensor '{}' is quantized to {} in groups of {}; expected {} in groups of {}",
                      name, weight_format_name(tensor.format), tensor.group_size,
                      weight_format_name(format), group_size);
  }
  if (tensor.input_order != nullptr) {
    throw_input_error(
        "tensor '{}' has its columns in the order of activations (GPTQ's act-order), which an "
        "engine directory can't hold; load the checkpoint itself",
        name);
  }
}

}  // namespace

std::int64_t stored_row_bytes(WeightFormat format, std::int64_t num_columns) {
  return num_columns * traits_of(format).weight_bits / 8;
}

StoredScales store_quantized(
    const HostTensor& tensor, const std::string& name, WeightFormat format, std::int64_t group_size,
    ThreadPool& threads,
    const std::function<void(std::int64_t, std::span<const std::byte>)>& write) {
  const std::int64_t num_rows = tensor.shape.at(0);
  const std::int64_t num_columns = tensor.shape.at(1);
  if (tensor.quantized != nullptr) check_taken(*tensor.quantized, name, format, group_size);
  const std::int64_t num_groups = num_columns / group_size;
  const std::int64_t row_bytes = stored_row_bytes(format, num_columns);
  const std::int64_t piece_rows = std::max<std::int64_t>(kPieceBytes / row_bytes, 1);
  std::vector<std::byte> piece(
      static_cast<std::size_t>(std::min(piece_rows, num_rows) * row_bytes));
  StoredScales stored;
  stored.scales.resize(static_cast<std::size_t>(num_rows * num_groups));
  if (traits_of(format).has_zero_points) stored.zeros.resize(stored.scales.size());
  std::atomic<bool> is_finite{true};
  for (std::int64_t first = 0; first < num_rows; first += piece_rows) {
    const std::int64_t count = std::min(piece_rows, num_rows - first);
    threads.for_ranges(count, 1, [&](std::int64_t begin, std::int64_t end, int) {
      std::vector<float> values(static_cast<std::size_t>(num_columns));
      QuantizedRow row;
      for (std::int64_t n = first + begin; n < first + end; ++n) {
        if (tensor.quantized != nullptr) {
          read_row(*tensor.quantized, n, num_columns, row);
        } else {
          read_plain_row(tensor, n, values);
          if (!quantize_row(format, group_size, values, row)) {
            is_finite = false;
            return;
          }
        }
        store_codes(format, row.codes, piece.data() + (n - first) * row_bytes);
        std::copy(row.scales.begin(), row.scales.end(), stored.scales.begin() + n * num_groups);
        if (!stored.zeros.empty())
          std::copy(row.zeros.begin(), row.zeros.end(), stored.zeros.begin() + n * num_groups);
      }
    });
    if (!is_finite) {
      throw_input_error(
          "tensor '{}' holds NaN or infinity and can't be quantized; the checkpoint is damaged",
          name);
    }
    write(first * row_bytes, std::span(piece).first(static_cast<std::size_t>(count * row_bytes)));
  }
  return stored;
}

}  // namespace iol
