#pragma once
// Puts one level's kernels into a table. Included by each isa/*.cpp with its own S and bf16 format.
#include "backend/cpu/isa/append.h"
#include "backend/cpu/isa/attention.h"
#include "backend/cpu/isa/attention_codes.h"
#include "backend/cpu/isa/formats.h"
#include "backend/cpu/isa/linear.h"
#include "backend/cpu/isa/linear_int4.h"
#include "backend/cpu/isa/linear_widened.h"
#include "backend/cpu/isa/peak.h"
#include "backend/cpu/isa/quantize.h"
#include "backend/cpu/isa/rows.h"
#include "backend/cpu/kernel_table.h"

namespace iol::cpu {
namespace {

template <class S, template <class> class Bf16Format>
struct Kernels {
  static constexpr bool kBf16Activations = sizeof(typename Bf16Format<S>::Activation) == 2;

  /// One-byte weights become what they are multiplied with.
  template <class Codes>
  static void widened(const LinearTask& task, std::int64_t first_panel, std::int64_t last_panel,
                      float* partial) {
    if constexpr (kBf16Activations) {
      if (task.x_element == Element::kBf16)
        return linear_widened<S, Bf16Format<S>, Codes>(task, first_panel, last_panel, partial);
    }
    linear_widened<S, F32Format<S>, Codes>(task, first_panel, last_panel, partial);
  }

  static void linear(const LinearTask& task, std::int64_t first_panel, std::int64_t last_panel,
                     float* partial) {
    switch (task.weight_element) {
      case Element::kF32:
        return linear_panels<S, F32Format<S>>(task, first_panel, last_panel, partial);
      case Element::kF16:
        return linear_panels<S, F16Format<S>>(task, first_panel, last_panel, partial);
      case Element::kBf16:
        return linear_panels<S, Bf16Format<S>>(task, first_panel, last_panel, partial);
      case Element::kInt8:
        return linear_panels<S, Int8Format<S>>(task, first_panel, last_panel, partial);
      case Element::kInt8WeightOnly:
        return widened<Int8Codes<S>>(task, first_panel, last_panel, partial);
      case Element::kFp8:
        return widened<Fp8Codes<S>>(task, first_panel, last_panel, partial);
      case Element::kInt4:
        return linear_int4<S>(task, first_panel, last_panel, partial);
    }
  }

  static void attention(const AttentionTask& task) {
    switch (task.cache.element) {
      case Element::kF32:
        return attend_rows<S, PlainCache<S, F32Format<S>, F32Format<S>>>(task);
      case Element::kF16:
        return attend_rows<S, PlainCache<S, F16Format<S>, F16Format<S>>>(task);
      case Element::kBf16:
        return attend_rows<S, PlainCache<S, Bf16Format<S>, Bf16RowFormat<S>>>(task);
      case Element::kInt8:
        return attend_rows<S, CodedCache<S, Int8Codes<S>>>(task);
      case Element::kFp8:
        return attend_rows<S, CodedCache<S, Fp8Codes<S>>>(task);
      default:
        return;  // no cache is made of it
    }
  }

  static constexpr KernelTable table() {
    KernelTable table = {};
    table.bf16_activations = kBf16Activations;
    table.linear = linear;
    table.quantize = quantize<S>;
    table.quantize_fp8 = quantize_fp8<S>;
    table.quantize_groups = quantize_groups<S>;
    table.rms_norm = rms_norm<S>;
    table.rope = rope<S>;
    table.append = append<S>;
    table.attention = attention;
    table.argmax = argmax<S>;
    table.sum_exp = sum_exp<S>;
    table.peak_f32 = peak_f32<S>;
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
    table.peak_int8 = peak_int8;
#endif
#ifdef __AVX512BF16__
    table.peak_bf16 = peak_bf16;
#endif
    return table;
  }
};

}  // namespace
}  // namespace iol::cpu
