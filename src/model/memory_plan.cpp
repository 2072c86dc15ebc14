#include "model/memory_plan.h"

namespace iol {
namespace {

// As backend/cpu packs a matrix: rows in panels of 64, pairs along K in bf16.
constexpr std::int64_t kPanelRows = 64;

std::int64_t packed_bytes(std::int64_t rows, std::int64_t columns, DType dtype) {
  const std::int64_t padded_rows = (rows + kPanelRows - 1) / kPanelRows * kPanelRows;
  const std::int64_t padded_columns = dtype == DType::kBF16 ? (columns + 1) / 2 * 2 : columns;
  return padded_rows * padded_columns * static_cast<std::int64_t>(dtype_bytes(dtype));
}

}  // namespace

std::int64_t weight_bytes(const ModelConfig& config, DType dtype) {
  const std::int64_t queries = std::int64_t{config.num_heads} * config.head_dim;
  const std::int64_t keys = std::int64_t{config.num_kv_heads} * config.head_dim;
  const std::int64_t layer =
      packed_bytes(queries + 2 * keys, config.hidden_size, dtype) +
      packed_bytes(config.hidden_size, queries, dtype) +
      packed_bytes(2 * std::int64_t{config.intermediate_size}, config.hidden_size, dtype) +
      packed_bytes(config.hidden_size, config.intermediate_size, dtype);
  const std::int64_t embedding = packed_bytes(config.vocab_size, config.hidden_size, dtype);
  return config.num_layers * layer + embedding * (config.tie_word_embeddings ? 1 : 2);
}

std::int64_t kv_bytes_per_token(const ModelConfig& config, DType dtype) {
  return std::int64_t{2} * config.num_layers * config.num_kv_heads * config.head_dim *
         static_cast<std::int64_t>(dtype_bytes(dtype));
}

}  // namespace iol
