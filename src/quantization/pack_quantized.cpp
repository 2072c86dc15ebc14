// compressed-tensors' pack-quantized form of a matrix [N, K] with G groups:
//
//   MODULE.weight_packed      i32 [N, K bits / 32]   numbers q + 2^(bits - 1), the first in the low
//                                                    bits
//   MODULE.weight_scale       [N, G], or one number
//   MODULE.weight_shape       i64 [2]                N, K
//   MODULE.weight_zero_point  i32 [N / 8, G]         zero + 8, n = 8 r + i in bits 4 i; older files
//                                                    have i8 [N, G]. Only of asymmetric weights
//   MODULE.weight_g_idx       i32 [K]                the group of each input, of files with
//                                                    `actorder: group`; -1: not used
//
//   w[n][k] = (q[n][k] - zero[n][g]) * scale[n][g]
#include "quantization/pack_quantized.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "quantization/column_order.h"

namespace iol {
namespace {

constexpr std::int64_t kPerWord = 8;  // of 4 bits

/// [N, G], 0..15
std::vector<std::uint8_t> unpack_zeros(const StoredMatrix& stored, std::int64_t num_rows,
                                       std::int64_t num_groups) {
  const HostTensor& tensor = stored.matrix("weight_zero_point", {DType::kI32, DType::kI8});
  std::vector<std::uint8_t> zeros(static_cast<std::size_t>(num_rows * num_groups));
  if (tensor.dtype == DType::kI8) {
    stored.check_shape("weight_zero_point", tensor, {num_rows, num_groups});
    for (std::size_t i = 0; i < zeros.size(); ++i) {
      const int zero = static_cast<std::int8_t>(tensor.data[i]) + 8;
      if (zero < 0 || zero > 15)
        stored.refuse("weight_zero_point", "holds numbers that 4 bits can't; it is damaged");
      zeros[i] = static_cast<std::uint8_t>(zero);
    }
    return zeros;
  }
  stored.check_shape("weight_zero_point", tensor,
                     {(num_rows + kPerWord - 1) / kPerWord, num_groups});
  for (std::int64_t n = 0; n < num_rows; ++n) {
    for (std::int64_t g = 0; g < num_groups; ++g) {
      const std::uint32_t word = word_at(tensor, n / kPerWord * num_groups + g);
      zeros[static_cast<std::size_t>(n * num_groups + g)] =
          static_cast<std::uint8_t>(word >> static_cast<unsigned>(4 * (n % kPerWord)) & 15U);
    }
  }
  return zeros;
}

/// The columns in the order of their groups; empty when they are in it already.
std::vector<std::int32_t> column_order(const StoredMatrix& stored, const UnpackedMatrix& matrix) {
  constexpr const char* kPart = "weight_g_idx";
  if (stored.find(kPart) == nullptr) return {};
  const auto groups = stored.integers(kPart, matrix.columns);
  if (std::find(groups.begin(), groups.end(), -1) != groups.end()) return {};
  return columns_by_group(stored, kPart, matrix.columns, matrix.group_size);
}

}  // namespace

UnpackedMatrix unpack_pack_quantized(const StoredMatrix& stored, const PackedScheme& scheme) {
  const HostTensor& packed = stored.matrix("weight_packed", {DType::kI32});
  const std::int64_t per_word = 32 / scheme.bits;
  const auto shape = stored.integers("weight_shape", 2);
  if (shape[0] != packed.shape[0] || shape[1] % per_word != 0 ||
      shape[1] / per_word != packed.shape[1] || shape[1] == 0) {
    stored.refuse("weight_shape",
                  fmt::format("says [{}, {}], which does not fit {} x {} packed "
                              "words; the checkpoint is damaged",
                              shape[0], shape[1], packed.shape[0], packed.shape[1]));
  }
  UnpackedMatrix matrix;
  matrix.rows = shape[0];
  matrix.columns = shape[1];
  matrix.group_size = scheme.group_size == 0 ? matrix.columns : scheme.group_size;
  if (matrix.columns % matrix.group_size != 0) {
    stored.refuse("weight_packed", fmt::format("has {} columns, which groups of {} don't divide",
                                               matrix.columns, matrix.group_size));
  }
  const std::int64_t num_groups = matrix.columns / matrix.group_size;
  matrix.scales = scheme.group_size == 0 ? stored.row_scales("weight_scale", matrix.rows)
                                         : stored.scales("weight_scale", matrix.rows, num_groups);
  matrix.source = bytes_of(packed);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(packed.data);
  if (scheme.bits == 8) {
    matrix.format = WeightFormat::kInt8WeightOnly;
    matrix.values.assign(bytes, bytes + matrix.source.size());
    for (auto& value : matrix.values) value ^= 0x80U;  // q - 128 in two's complement
    return matrix;
  }
  matrix.format = WeightFormat::kInt4;
  matrix.mapped_values = bytes;  // words of the first number in the low bits are our bytes
  if (scheme.has_zero_points) matrix.zeros = unpack_zeros(stored, matrix.rows, num_groups);
  if (auto order = column_order(stored, matrix); !order.empty()) {
    matrix.values.assign(bytes, bytes + matrix.source.size());
    matrix.mapped_values = nullptr;
    reorder_columns(matrix, std::move(order));
  }
  return matrix;
}

}  // namespace iol
