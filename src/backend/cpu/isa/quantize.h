#pragma once
// Rows of activations in the form that quantized weights are multiplied with.
#include <cstdint>

#include "backend/cpu/isa/linear.h"
#include "backend/cpu/kernel_table.h"

namespace iol::cpu {
namespace {

template <class S>
inline typename S::F load_activation(const void* x, Element element, std::int64_t index) {
  return element == Element::kBf16 ? S::load_bf16(static_cast<const std::uint16_t*>(x) + index)
                                   : S::load(static_cast<const float*>(x) + index);
}

/// max |x| over [begin, end)
template <class S>
inline float largest_magnitude(const void* x, Element element, std::int64_t begin,
                               std::int64_t end) {
  auto most = S::zero();
  for (std::int64_t i = begin; i < end; i += 16) {
    const auto value = load_activation<S>(x, element, i);
    most = S::max(most, S::max(value, S::sub(S::zero(), value)));
  }
  return S::reduce_max(most);
}

/// What scales rows to [-most, most]; 0 where it would overflow.
inline float reciprocal_scale(float most, float largest) {
  return largest > 1e-30F ? most / largest : 0.0F;
}

/// x * inverse within [-most, most].
template <class S>
inline typename S::F scaled_within(typename S::F x, float inverse, float most) {
  const auto scaled = S::mul(x, S::broadcast(inverse));
  return S::max(S::min(scaled, S::broadcast(most)), S::broadcast(-most));
}

template <class S>
void quantize(const QuantizeTask& task) {
  const float largest = largest_magnitude<S>(task.x, task.element, 0, task.size);
  const float inverse = reciprocal_scale(127.0F, largest);
  *task.scale = largest / 127.0F;
  const auto offset = S::broadcast(128.0F);
  for (std::int64_t i = 0; i < task.size; i += 16) {
    const auto scaled =
        scaled_within<S>(load_activation<S>(task.x, task.element, i), inverse, 127.0F);
    S::store_bytes(task.out + i, S::add(S::round(scaled), offset));
  }
}

template <class S>
void quantize_fp8(const QuantizeFp8Task& task) {
  const float largest = largest_magnitude<S>(task.x, task.element, 0, task.size);
  const float inverse = reciprocal_scale(448.0F, largest);
  *task.scale = largest / 448.0F;
  for (std::int64_t i = 0; i < task.size; i += 16) {
    const auto scaled =
        scaled_within<S>(load_activation<S>(task.x, task.element, i), inverse, 448.0F);
    store_activation<S>(task.out, task.out_element, i, S::round_fp8(scaled));
  }
}

template <class S>
void quantize_groups(const QuantizeGroupsTask& task) {
  float gathered[16];
  const auto* wide = static_cast<const float*>(task.x);
  const auto* narrow = static_cast<const std::uint16_t*>(task.x);
  const auto value_at = [&](std::int64_t j) {
    const std::int32_t k = task.order[j];
    return task.element == Element::kBf16
               ? __builtin_bit_cast(float, static_cast<std::uint32_t>(narrow[k]) << 16)
               : wide[k];
  };
  const auto load = [&](std::int64_t i) {
    if (task.order == nullptr) return load_activation<S>(task.x, task.element, i);
    for (int lane = 0; lane < 16; ++lane) gathered[lane] = value_at(i + lane);
    return S::load(gathered);
  };
  for (std::int64_t begin = 0, g = 0; begin < task.size; begin += task.group_size, ++g) {
    const std::int64_t end = begin + task.group_size;
    auto most = S::zero();
    for (std::int64_t i = begin; i < end; i += 16) {
      const auto value = load(i);
      most = S::max(most, S::max(value, S::sub(S::zero(), value)));
    }
    const float largest = S::reduce_max(most);
    const float inverse = reciprocal_scale(127.0F, largest);
    task.scales[g] = largest / 127.0F;
    auto sum = S::zero();  // of integers below 2^24: exact
    for (std::int64_t i = begin; i < end; i += 16) {
      const auto rounded = S::round(scaled_within<S>(load(i), inverse, 127.0F));
      S::store_signed_bytes(task.out + i, rounded);
      sum = S::add(sum, rounded);
    }
    task.sums[g] = static_cast<std::int32_t>(S::reduce_add(sum));
  }
}

}  // namespace
}  // namespace iol::cpu
