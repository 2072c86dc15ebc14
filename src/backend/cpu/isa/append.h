#pragma once
// Writes keys and values to the cache, in its layout and element (see CacheView).
#include <cstdint>

#include "backend/cpu/isa/quantize.h"
#include "backend/cpu/kernel_table.h"

namespace iol::cpu {
namespace {

/// Codes and scale of one key or value x [D], by the definition at AppendTask.
template <class S>
inline void quantize_head(const float* x, std::int64_t dim, Element element, std::uint8_t* codes,
                          float* scale) {
  const float largest = largest_magnitude<S>(x, Element::kF32, 0, dim);
  const float most = element == Element::kInt8 ? 127.0F : 448.0F;
  const float inverse = largest > 0 ? most / largest : 0.0F;
  auto poison = S::zero();  // 0, or NaN when one of x isn't finite
  float rounded[kMaxHeadDim];
  for (std::int64_t d = 0; d < dim; d += 16) {
    const auto value = S::load(x + d);
    poison = S::add(poison, S::sub(value, value));
    const auto scaled = scaled_within<S>(value, inverse, most);
    S::store(rounded + d, element == Element::kInt8 ? S::round(scaled) : S::round_fp8(scaled));
  }
  *scale = largest / most + S::reduce_add(poison);
  if (element == Element::kInt8) {
    for (std::int64_t d = 0; d < dim; ++d)
      codes[d] = static_cast<std::uint8_t>(static_cast<int>(rounded[d]));
    return;
  }
  for (std::int64_t d = 0; d < dim; ++d) {  // an E4M3 number to its bits
    std::uint32_t bits;
    __builtin_memcpy(&bits, rounded + d, sizeof(bits));
    const float size = rounded[d] < 0 ? -rounded[d] : rounded[d];
    const std::uint32_t normal = (bits >> 20 & 0x7ffU) - (120U << 3);  // the bias goes to 7
    const auto subnormal = static_cast<std::uint32_t>(static_cast<int>(size * 512));
    const std::uint32_t magnitude = size < 0x1p-6F ? subnormal : normal;
    codes[d] = static_cast<std::uint8_t>((bits >> 24 & 0x80U) | magnitude);
  }
}

template <class S>
inline void append_codes(const AppendTask& task, std::byte* head) {
  const CacheView& cache = task.cache;
  const std::int64_t dim = cache.head_dim;
  const std::int64_t block_codes = cache.block_size * dim;
  const std::int64_t lane = task.offset % kKeyTile;
  std::uint8_t codes[kMaxHeadDim];

  auto* keys = reinterpret_cast<std::uint8_t*>(head);
  auto* tile = keys + (task.offset - lane) * dim;
  auto* scales = reinterpret_cast<float*>(keys + block_codes);
  quantize_head<S>(task.key, dim, cache.element, codes, scales + task.offset);
  for (std::int64_t d = 0; d < dim; d += 4)
    __builtin_memcpy(tile + (d / 4 * kKeyTile + lane) * 4, codes + d, 4);

  auto* values = keys + cache_values_offset(cache);
  auto* four = values + task.offset / 4 * 4 * dim + task.offset % 4;
  scales = reinterpret_cast<float*>(values + block_codes);
  quantize_head<S>(task.value, dim, cache.element, codes, scales + task.offset);
  for (std::int64_t d = 0; d < dim; ++d) four[d * 4] = codes[d];
}

inline void append_f32(const AppendTask& task, std::byte* head) {
  const std::int64_t dim = task.cache.head_dim;
  const std::int64_t lane = task.offset % kKeyTile;
  auto* keys = reinterpret_cast<float*>(head) + (task.offset - lane) * dim;
  auto* values = reinterpret_cast<float*>(head) + (task.cache.block_size + task.offset) * dim;
  for (std::int64_t d = 0; d < dim; ++d) keys[d * kKeyTile + lane] = task.key[d];
  for (std::int64_t d = 0; d < dim; ++d) values[d] = task.value[d];
}

template <class S>
inline void append_halves(const AppendTask& task, std::byte* head) {
  const CacheView& cache = task.cache;
  const std::int64_t dim = cache.head_dim;
  const std::int64_t lane = task.offset % kKeyTile;
  auto* keys = reinterpret_cast<std::uint16_t*>(head) + (task.offset - lane) * dim;
  auto* values = reinterpret_cast<std::uint16_t*>(head) + (cache.block_size + task.offset) * dim;
  std::uint16_t key[kMaxHeadDim];
  for (std::int64_t d = 0; d < dim; d += 16) {
    if (cache.element == Element::kBf16) {
      S::store_bf16(key + d, S::load(task.key + d));
      S::store_bf16(values + d, S::load(task.value + d));
    } else {
      S::store_f16(key + d, S::load(task.key + d));
      S::store_f16(values + d, S::load(task.value + d));
    }
  }
  if (cache.element == Element::kBf16) {  // pairs along D
    for (std::int64_t d = 0; d < dim; d += 2) {
      keys[d * kKeyTile + lane * 2] = key[d];
      keys[d * kKeyTile + lane * 2 + 1] = key[d + 1];
    }
  } else {
    for (std::int64_t d = 0; d < dim; ++d) keys[d * kKeyTile + lane] = key[d];
  }
}

template <class S>
void append(const AppendTask& task) {
  const CacheView& cache = task.cache;
  std::byte* head = cache.layer + task.block * cache.block_bytes + task.kv_head * cache.head_bytes;
  switch (cache.element) {
    case Element::kInt8:
    case Element::kFp8:
      return append_codes<S>(task, head);
    case Element::kF32:
      return append_f32(task, head);
    default:
      return append_halves<S>(task, head);
  }
}

}  // namespace
}  // namespace iol::cpu
