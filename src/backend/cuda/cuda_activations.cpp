#include "backend/cuda/cuda_activations.h"

#include <algorithm>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/decode_shares.h"
#include "backend/cuda/kernels/kernels.h"

namespace iol {
namespace cuda {
namespace {

constexpr std::size_t kSmallestGroup = 8;

std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

/// The bytes of each array. Activations are counted as f32, the largest of their forms.
struct Layout {
  std::size_t operand_row, inv_freq, hidden, squares, largest, left_rows, operand, operand_scales,
      operand_sums, operand_squares, qkv, queries, query_scales, attended, gated, angles, logits,
      best, partial_sums, partial_stats, arrivals, hidden_tiles, gated_tiles;

  Layout(const TransformerShape& shape, int max_tokens, int max_logit_tokens) {
    const auto rows = static_cast<std::size_t>(std::max(max_tokens, max_logit_tokens));
    const auto hidden_size = static_cast<std::size_t>(shape.hidden_size);
    const auto head_dim = static_cast<std::size_t>(shape.head_dim);
    const auto num_heads = static_cast<std::size_t>(shape.num_heads);
    const auto num_kv_heads = static_cast<std::size_t>(shape.num_kv_heads);
    const std::size_t attended_size = num_heads * head_dim;
    const auto inner = static_cast<std::size_t>(shape.intermediate_size);
    // Small groups of int4 matrices are padded to 32: at most four times as wide.
    const std::size_t widest = std::max({hidden_size, attended_size, inner}) + 64;
    const std::size_t group = num_heads / num_kv_heads;
    inv_freq = aligned(head_dim / 2 * 4);
    hidden = aligned(rows * hidden_size * 4);
    squares = aligned(std::size_t{2} * static_cast<std::size_t>(shape.num_layers) *
                      kMostNormedTokens * sizeof(SquareSum));
    left_rows = aligned(kMostNormedTokens * hidden_size * 2);
    largest = aligned(static_cast<std::size_t>(4 * shape.num_layers) * kMostCodedTokens * 4);
    operand_row = widest * 4;
    operand = aligned(rows * operand_row);
    operand_scales = aligned((rows + 3) * widest / kSmallestGroup * 4);  // see dealt_scales()
    operand_sums = operand_scales;
    operand_squares = aligned(rows * sizeof(SquareSum));
    qkv = aligned(rows * (num_heads + 2 * num_kv_heads) * head_dim * 4);
    queries = aligned(rows * attended_size * 4);
    query_scales = aligned(rows * num_heads * 4);
    attended = queries;
    gated = aligned(rows * inner * 4);
    angles = aligned(rows * head_dim / 2 * 4);
    logits = aligned(static_cast<std::size_t>(max_logit_tokens) *
                     static_cast<std::size_t>(shape.vocab_size) * 4);
    best = aligned(static_cast<std::size_t>(max_logit_tokens) * 8);
    partial_sums = aligned(std::size_t{kPartialEntries} * kDecodeTileRows * head_dim * 4);
    partial_stats = aligned(std::size_t{kPartialEntries} * kDecodeTileRows * 2 * 4);
    arrivals = aligned(rows * (group / kDecodeTileRows + 1) * num_kv_heads * 4);
    // A number for each tile of a packed matrix.
    hidden_tiles = aligned((hidden_size / kTileRows + 4) * sizeof(SquareSum));
    gated_tiles = aligned((inner / kTileRows + 4) * 4);
  }
  [[nodiscard]] std::size_t total() const {
    return inv_freq + hidden + squares + largest + left_rows + operand + operand_scales +
           operand_sums + operand_squares + qkv + queries + query_scales + attended + gated +
           2 * angles + logits + best + partial_sums + partial_stats + arrivals + 2 * hidden_tiles +
           gated_tiles + aligned(kExchangeSumBytes) + aligned(kExchangeFlagBytes);
  }
};

}  // namespace

CudaActivations::CudaActivations(const TransformerShape& transformer, int tokens, int logit_tokens)
    : shape(transformer),
      max_tokens(tokens),
      max_logit_tokens(logit_tokens),
      inputs(tokens, logit_tokens, transformer),
      host_logits(static_cast<std::size_t>(logit_tokens) *
                      static_cast<std::size_t>(transformer.vocab_size) * 4,
                  "the step's logits") {
  const Layout layout(shape, tokens, logit_tokens);
  buffer_ = DeviceBuffer(layout.total(), "the activations");
  operand_row_bytes = layout.operand_row;
  for (Results& step : results) step.best = PinnedBuffer(layout.best, "the step's results");
  std::size_t offset = 0;
  const auto take = [&](auto*& array, std::size_t bytes) {
    array = reinterpret_cast<std::remove_reference_t<decltype(array)>>(buffer_.data() + offset);
    offset += bytes;
  };
  take(inv_freq, layout.inv_freq);
  take(hidden, layout.hidden);
  take(squares, layout.squares);
  take(largest, layout.largest);
  take(left_rows, layout.left_rows);
  take(operand.values, layout.operand);
  take(operand.scales, layout.operand_scales);
  take(operand.sums, layout.operand_sums);
  take(operand.squares, layout.operand_squares);
  take(qkv, layout.qkv);
  take(queries, layout.queries);
  take(query_scales, layout.query_scales);
  take(attended, layout.attended);
  take(gated, layout.gated);
  take(cosine, layout.angles);
  take(sine, layout.angles);
  take(logits, layout.logits);
  take(best, layout.best);
  take(partial_sums, layout.partial_sums);
  take(partial_stats, layout.partial_stats);
  take(arrivals, layout.arrivals);
  take(exchange.sums, aligned(kExchangeSumBytes));
  take(exchange.are_there, aligned(kExchangeFlagBytes));
  take(hidden_traits.squares, layout.hidden_tiles);
  take(hidden_traits.largest, layout.hidden_tiles);
  take(gated_traits.largest, layout.gated_tiles);
  const auto tiles = [](int columns) { return (columns + kTileRows - 1) / kTileRows; };
  hidden_traits.num_largest = tiles(shape.hidden_size);
  gated_traits.num_largest = tiles(shape.intermediate_size);
  copy_to_device(inv_freq, shape.rope_inv_freq.data(), shape.rope_inv_freq.size() * 4,
                 "copying rotation frequencies");
}

}  // namespace cuda

std::size_t cuda_activation_bytes(const TransformerShape& shape, int max_tokens,
                                  int max_logit_tokens) {
  return cuda::Layout(shape, max_tokens, max_logit_tokens).total();
}

}  // namespace iol
