#include "model/memory_plan.h"

namespace iol {
namespace {

// As backend/cpu packs a matrix: rows in panels of 64, pairs along K in bf16, fours in int8.
constexpr std::int64_t kPanelRows = 64;

std::int64_t packed_bytes(std::int64_t rows, std::int64_t columns, DType dtype,
                          WeightFormat format = WeightFormat::kNone) {
  const std::int64_t padded_rows = (rows + kPanelRows - 1) / kPanelRows * kPanelRows;
  if (format == WeightFormat::kInt8) {
    constexpr std::int64_t kRowExtras = 8;  // a scale and the sum of the row
    return padded_rows * ((columns + 3) / 4 * 4 + kRowExtras);
  }
  const std::int64_t padded_columns = dtype == DType::kBF16 ? (columns + 1) / 2 * 2 : columns;
  return padded_rows * padded_columns * static_cast<std::int64_t>(dtype_bytes(dtype));
}

}  // namespace

std::int64_t weight_bytes(const ModelConfig& config, DType dtype, WeightFormat format) {
  const std::int64_t queries = std::int64_t{config.num_heads} * config.head_dim;
  const std::int64_t keys = std::int64_t{config.num_kv_heads} * config.head_dim;
  const std::int64_t layer =
      packed_bytes(queries + 2 * keys, config.hidden_size, dtype, format) +
      packed_bytes(config.hidden_size, queries, dtype, format) +
      packed_bytes(2 * std::int64_t{config.intermediate_size}, config.hidden_size, dtype, format) +
      packed_bytes(config.hidden_size, config.intermediate_size, dtype, format);
  const std::int64_t embedding = packed_bytes(config.vocab_size, config.hidden_size, dtype);
  return config.num_layers * layer + embedding * (config.tie_word_embeddings ? 1 : 2);
}

std::int64_t kv_bytes_per_token(const ModelConfig& config, DType dtype) {
  return std::int64_t{2} * config.num_layers * config.num_kv_heads * config.head_dim *
         static_cast<std::int64_t>(dtype_bytes(dtype));
}

}  // namespace iol
