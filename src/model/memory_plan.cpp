#include "model/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/kv_format.h"

namespace iol {
namespace {

// As backend/cpu packs a matrix: rows in panels of 64, pairs along K in bf16, fours in one-byte
// formats; beside them scales and, in int8, row sums, in int4 zero points.
constexpr std::int64_t kPanelRows = 64;

std::int64_t padded(std::int64_t size, std::int64_t step) {
  return (size + step - 1) / step * step;
}

// As backend/cuda packs a matrix: rows in fours of tiles of 16, K in blocks of 64 bytes (int4: 32);
// what is computed in f32 is plain rows.
std::int64_t cuda_packed_bytes(std::int64_t rows, std::int64_t columns, DType dtype,
                               WeightFormat format, std::int64_t group_size) {
  const std::int64_t padded_rows = padded(rows, kPanelRows);
  switch (format) {
    case WeightFormat::kInt8WeightOnly:
      if (dtype == DType::kF32) return padded_rows * (columns + 4);
      return padded_rows * (padded(columns, 64) + 4);
    case WeightFormat::kInt8:
    case WeightFormat::kFp8:
      return padded_rows * (padded(columns, 64) + 4);
    case WeightFormat::kInt4: {
      const std::int64_t group = group_size > 0 ? group_size : columns;
      const std::int64_t num_groups = columns / group;
      return padded_rows * (padded(num_groups * padded(group, 32), 64) / 2 + num_groups * (4 + 1));
    }
    case WeightFormat::kNone:
      break;
  }
  if (dtype == DType::kF32) return padded_rows * columns * 4;
  return padded_rows * padded(columns, 32) * 2;
}

std::int64_t packed_bytes(std::int64_t rows, std::int64_t columns, DType dtype, WeightFormat format,
                          std::int64_t group_size) {
  const std::int64_t padded_rows = (rows + kPanelRows - 1) / kPanelRows * kPanelRows;
  const std::int64_t padded_fours = (columns + 3) / 4 * 4;
  switch (format) {
    case WeightFormat::kInt8:
      return padded_rows * (padded_fours + 4 + 4);
    case WeightFormat::kInt8WeightOnly:
    case WeightFormat::kFp8:
      return padded_rows * (padded_fours + 4);
    case WeightFormat::kInt4:
      return padded_rows * (columns / 2 + (group_size > 0 ? columns / group_size : 1) * (4 + 1));
    case WeightFormat::kNone:
      break;
  }
  const std::int64_t padded_columns = dtype == DType::kBF16 ? (columns + 1) / 2 * 2 : columns;
  return padded_rows * padded_columns * static_cast<std::int64_t>(dtype_bytes(dtype));
}

bool keeps(const Quantization& quantization, const std::string& name) {
  return std::any_of(quantization.keep.begin(), quantization.keep.end(),
                     [&](const auto& part) { return name.find(part) != std::string::npos; });
}

}  // namespace

std::int64_t weight_bytes(const ModelConfig& config, DType dtype, const Quantization& quantization,
                          WeightPacking packing) {
  const auto bytes = [&](std::int64_t rows, std::int64_t columns, WeightFormat format) {
    const auto count = packing == WeightPacking::kCpu ? packed_bytes : cuda_packed_bytes;
    return count(rows, columns, dtype, format, quantization.group_size);
  };
  const std::int64_t queries = std::int64_t{config.num_heads} * config.head_dim;
  const std::int64_t keys = std::int64_t{config.num_kv_heads} * config.head_dim;
  const std::int64_t inner = config.intermediate_size;
  std::int64_t layers = 0;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    // Of matrices that are multiplied as one, none is quantized when one is kept.
    const auto format_of = [&](std::initializer_list<std::string_view> matrices) {
      const bool is_kept = std::any_of(matrices.begin(), matrices.end(), [&](auto matrix) {
        return keeps(quantization, fmt::format("model.layers.{}.{}.weight", layer, matrix));
      });
      return is_kept ? WeightFormat::kNone : quantization.format;
    };
    layers += bytes(queries + 2 * keys, config.hidden_size,
                    format_of({"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"})) +
              bytes(config.hidden_size, queries, format_of({"self_attn.o_proj"})) +
              bytes(2 * inner, config.hidden_size, format_of({"mlp.gate_proj", "mlp.up_proj"})) +
              bytes(config.hidden_size, inner, format_of({"mlp.down_proj"}));
  }
  const std::int64_t head = bytes(config.vocab_size, config.hidden_size, quantization.head);
  const std::int64_t embedding =
      config.tie_word_embeddings
          ? 0
          : bytes(config.vocab_size, config.hidden_size, WeightFormat::kNone);
  return layers + head + embedding;
}

std::int64_t kv_bytes_per_token(const ModelConfig& config, DType dtype) {
  return std::int64_t{2} * config.num_layers * config.num_kv_heads *
         static_cast<std::int64_t>(kv_row_bytes(config.head_dim, dtype));
}

}  // namespace iol
