#pragma once
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kernel_table.h"
#include "base/huge_buffer.h"

namespace iol::cpu {

/// From one row of `bytes` bytes to the next where matrices multiply them: an odd number of cache
/// lines, so that the same columns of many rows don't share a set of a cache.
constexpr std::int64_t row_stride_bytes(std::int64_t bytes) { return ((bytes + 63) / 64 | 1) * 64; }

/// A step's scratch memory. Offsets into one buffer; T = max_tokens, L = max_logit_tokens.
class CpuActivations final : public Activations {
 public:
  CpuActivations(const TransformerShape& shape, int max_tokens, int max_logit_tokens,
                 int num_threads);
  [[nodiscard]] std::size_t size_bytes() const override { return buffer_.size_bytes(); }

  const TransformerShape& shape;
  const int max_tokens;
  const int max_logit_tokens;
  const std::int64_t qkv_stride;     // (Nq + 2 Nkv) D
  const std::int64_t logits_stride;  // V rounded up to whole panels

  float* hidden = nullptr;            // [T, H] the residual stream
  std::byte* normed = nullptr;        // [T, H] f32 or bf16, as the next matrix wants it, in
                                      // rows of row_stride_bytes(), like the next ones
  float* qkv = nullptr;               // [T, qkv_stride]
  std::byte* attended = nullptr;      // [T, Nq D] f32 or bf16
  std::byte* gated = nullptr;         // [T, F] f32 or bf16
  std::uint8_t* quantized = nullptr;  // [T, largest K] what an int8 or int4 matrix multiplies
  float* scales = nullptr;            // [T] or [T, groups] of quantized rows
  std::int32_t* sums = nullptr;       // [T, groups] of the integers of `quantized`
  float* cosine = nullptr;            // [T, D / 2]
  float* sine = nullptr;              // [T, D / 2]
  float* logits = nullptr;            // [L, logits_stride]
  std::vector<ArgMax> best;           // [threads, L]
  std::vector<std::byte*> scratch;    // per thread: linear partial sums or attention scratch

 private:
  TransformerShape shape_;
  HugeBuffer buffer_;
};

}  // namespace iol::cpu
