#include "backend/cpu/cpu_activations.h"

#include <algorithm>

namespace iol::cpu {
namespace {

std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

std::size_t strided(std::size_t bytes) {
  return static_cast<std::size_t>(row_stride_bytes(static_cast<std::int64_t>(bytes)));
}

}  // namespace

CpuActivations::CpuActivations(const TransformerShape& transformer, int tokens, int logit_tokens,
                               int num_threads)
    : shape(shape_),
      max_tokens(tokens),
      max_logit_tokens(logit_tokens),
      qkv_stride(std::int64_t{transformer.num_heads + 2 * transformer.num_kv_heads} *
                 transformer.head_dim),
      logits_stride((transformer.vocab_size + kPanelColumns - 1) / kPanelColumns * kPanelColumns),
      shape_(transformer) {
  const auto rows = static_cast<std::size_t>(tokens);
  const auto intermediate =
      (static_cast<std::size_t>(transformer.intermediate_size) + kBlockColumns - 1) /
      kBlockColumns * kBlockColumns;
  const auto attended_size = static_cast<std::size_t>(transformer.num_heads) * transformer.head_dim;
  const auto half_dim = static_cast<std::size_t>(transformer.head_dim) / 2;
  constexpr std::size_t kSmallestGroup = 16;
  const std::size_t widest =
      std::max({static_cast<std::size_t>(transformer.hidden_size), attended_size, intermediate});
  const std::size_t scratch_bytes = aligned(std::max(kLinearScratchBytes, kAttentionScratchBytes));

  // Sizes in the order of the members; activations are counted as f32, the larger of their two
  // forms.
  const std::size_t sizes[] = {
      aligned(rows * transformer.hidden_size * 4),
      rows * strided(static_cast<std::size_t>(transformer.hidden_size) * 4),
      aligned(rows * static_cast<std::size_t>(qkv_stride) * 4),
      rows * strided(attended_size * 4),
      rows * strided(intermediate * 4),
      rows * strided(widest),
      aligned(rows * widest / kSmallestGroup * 4),
      aligned(rows * widest / kSmallestGroup * 4),
      aligned(rows * half_dim * 4),
      aligned(rows * half_dim * 4),
      aligned(static_cast<std::size_t>(logit_tokens) * static_cast<std::size_t>(logits_stride) *
              4)};
  std::size_t total = scratch_bytes * static_cast<std::size_t>(num_threads);
  for (const auto size : sizes) total += size;
  buffer_ = HugeBuffer(total);

  std::byte* next = buffer_.data();
  const auto take = [&](std::size_t bytes) {
    std::byte* place = next;
    next += bytes;
    return place;
  };
  hidden = reinterpret_cast<float*>(take(sizes[0]));
  normed = take(sizes[1]);
  qkv = reinterpret_cast<float*>(take(sizes[2]));
  attended = take(sizes[3]);
  gated = take(sizes[4]);
  quantized = reinterpret_cast<std::uint8_t*>(take(sizes[5]));
  scales = reinterpret_cast<float*>(take(sizes[6]));
  sums = reinterpret_cast<std::int32_t*>(take(sizes[7]));
  cosine = reinterpret_cast<float*>(take(sizes[8]));
  sine = reinterpret_cast<float*>(take(sizes[9]));
  logits = reinterpret_cast<float*>(take(sizes[10]));
  for (int thread = 0; thread < num_threads; ++thread) scratch.push_back(take(scratch_bytes));
  best.resize(static_cast<std::size_t>(num_threads) * static_cast<std::size_t>(logit_tokens));
}

}  // namespace iol::cpu
