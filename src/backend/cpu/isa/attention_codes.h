#pragma once
// Attention over a quantized cache: int8 or E4M3 codes, one f32 scale for each position's key and
// one for its value (see CacheView). With s the scales and c the codes of position p,
//   score[p] = (sum over d of q[d] * ck[p][d]) * sk[p],  sums[d] += (w[p] * sv[p]) * cv[p][d].
//
// Codes are widened in registers, four to a step: to f32, or with a bf16 dot product to bf16, which
// holds every code exactly; queries and scaled weights are rounded to bf16 there.
#include <cstdint>

#include "backend/cpu/isa/attention.h"
#include "backend/cpu/isa/linear_widened.h"
#include "backend/cpu/kernel_table.h"

namespace iol::cpu {
namespace {

/// Four codes in each of sixteen columns, [16][4], against four activations.
template <class S, class Codes>
struct WidenedCodes {
  using Activation = float;
  static constexpr int kStep = 4;
  static constexpr int kBlockBytes = 64;
  static constexpr float kUnit = Codes::kUnit;
  struct Columns {
    typename S::F part[4];
  };
  static Columns load(const std::byte* p) {
    Columns columns;
    Codes::widen(p, columns.part);
    return columns;
  }
  static typename S::F accumulate(typename S::F sum, const float* x, const Columns& w) {
    for (int j = 0; j < 4; ++j) sum = S::fma(S::broadcast(x[j]), w.part[j], sum);
    return sum;
  }
};

#ifdef __AVX512BF16__
template <class S, class Codes>
struct PairedCodes {
  using Activation = std::uint16_t;
  static constexpr int kStep = 4;
  static constexpr int kBlockBytes = 64;
  static constexpr float kUnit = 1.0F;
  struct Columns {
    __m512i pair[2];
  };
  static Columns load(const std::byte* p) {
    Columns columns;
    Codes::widen_pairs(p, columns.pair);
    return columns;
  }
  static __m512 accumulate(__m512 sum, const std::uint16_t* x, const Columns& w) {
    for (int j = 0; j < 2; ++j) {
      int pair;
      __builtin_memcpy(&pair, x + 2 * j, sizeof(pair));
      sum = _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair)),
                             reinterpret_cast<__m512bh>(w.pair[j]));
    }
    return sum;
  }
};
template <class S, class Codes>
using CodeFormat = PairedCodes<S, Codes>;
#else
template <class S, class Codes>
using CodeFormat = WidenedCodes<S, Codes>;
#endif

template <class S, class Codes>
struct CodedCache {
  using KeyFormat = CodeFormat<S, Codes>;
  using ValueFormat = KeyFormat;
  static constexpr bool kScaled = true;

  static const std::byte* keys_at(const AttentionTask& task, std::int64_t position) {
    return head_at(task, position) + position % task.cache.block_size * task.cache.head_dim;
  }
  static const std::byte* values_at(const AttentionTask& task, std::int64_t position) {
    return keys_at(task, position) + cache_values_offset(task.cache);
  }

  static void load_scales(const AttentionTask& task, const AttentionTile& tile, Chunk chunk) {
    const std::int64_t codes = task.cache.block_size * task.cache.head_dim;
    const std::int64_t last = task.first_position + task.num_tokens;
    const auto scales_at = [&](std::int64_t position) {
      return head_at(task, position) + codes + position % task.cache.block_size * sizeof(float);
    };
    const auto copy = [](const std::byte* scales, float* out) {
      const auto scale = S::load(reinterpret_cast<const float*>(scales));
      S::store(out, S::mul(scale, S::broadcast(KeyFormat::kUnit)));
    };
    for (std::int64_t p = 0; p < chunk.count; p += kKeyTile) {
      const std::byte* scales = scales_at(chunk.first + p);
      copy(scales, tile.key_scales + p);
      copy(scales + cache_values_offset(task.cache), tile.value_scales + p);
      const std::int64_t next = chunk.first + p + kChunkPositions;
      if (next < last) {
        const std::byte* ahead = scales_at(next);
        S::prefetch(ahead);
        S::prefetch(ahead + cache_values_offset(task.cache));
      }
    }
  }
};

}  // namespace
}  // namespace iol::cpu
