#include "backend/cpu/isa/amx_peak.h"
#include "backend/cpu/isa/attention_amx.h"
#include "backend/cpu/isa/linear_amx.h"
#include "backend/cpu/isa/linear_codes_amx.h"
#include "backend/cpu/isa/linear_int4_amx.h"
#include "backend/cpu/isa/simd_avx512.h"
#include "backend/cpu/isa/table.h"

namespace iol::cpu {
namespace {

using S = Avx512;
using Vectors = Kernels<S, Bf16DotFormat>;  // what tiles don't do

/// Sums of integers are exact: up to so many rows vectors do them faster, with the same bits.
constexpr std::int64_t kMostInt8VectorRows = 8;
constexpr std::int64_t kMostInt4VectorRows = 6;

void linear(const LinearTask& task, std::int64_t first_panel, std::int64_t last_panel,
            float* partial) {
  using Bf16Weights = TiledWeights<Bf16Product, Sums::kFinal>;
  using Int8Weights = TiledWeights<BytesProduct, Sums::kInteger>;
  const bool is_bf16 = task.x_element == Element::kBf16;
  if (task.weight_element == Element::kBf16)
    return linear_amx<S, Bf16Weights>(task, first_panel, last_panel, partial);
  if (task.weight_element == Element::kInt8 && task.num_tokens > kMostInt8VectorRows)
    return linear_amx<S, Int8Weights>(task, first_panel, last_panel, partial);
  if (task.weight_element == Element::kInt4 && task.num_tokens > kMostInt4VectorRows)
    return linear_int4_amx<S>(task, first_panel, last_panel, partial);
  if (task.weight_element == Element::kInt8WeightOnly && is_bf16)
    return linear_codes_amx<S, Int8Codes<S>>(task, first_panel, last_panel, partial);
  if (task.weight_element == Element::kFp8 && is_bf16)
    return linear_codes_amx<S, Fp8Codes<S>>(task, first_panel, last_panel, partial);
  Vectors::linear(task, first_panel, last_panel, partial);
}

void attention(const AttentionTask& task) {
  const Element element = fits_tiles(task) ? task.cache.element : Element::kF32;
  switch (element) {
    case Element::kBf16:
      return attend_rows_amx<S, AmxPlainCache<S>>(task);
    case Element::kInt8:
      return attend_rows_amx<S, AmxCodedCache<S, Int8Codes<S>>>(task);
    case Element::kFp8:
      return attend_rows_amx<S, AmxCodedCache<S, Fp8Codes<S>>>(task);
    default:
      return Vectors::attention(task);
  }
}

constexpr KernelTable table() {
  KernelTable table = Vectors::table();
  table.linear = linear;
  table.attention = attention;
  table.peak_bf16 = peak_amx<Bf16Product, 2>;
  table.peak_int8 = peak_amx<BytesProduct, 1>;
  return table;
}

}  // namespace

extern const KernelTable kAmxKernels = table();

}  // namespace iol::cpu
