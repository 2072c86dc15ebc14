#pragma once
// The bf16 of every magnitude that a one-byte code can have, as tables of low and of high bytes.
#include <cstdint>

namespace iol::cpu {
namespace {

struct Bf16OfCode {
  alignas(64) std::uint8_t low[128];
  alignas(64) std::uint8_t high[128];
};

template <class Value>
constexpr Bf16OfCode bf16_of_code(Value value) {
  Bf16OfCode table = {};
  for (int code = 0; code < 128; ++code) {
    // Every value has at most eight significant bits: the cut is exact.
    const auto bits = __builtin_bit_cast(std::uint32_t, value(code)) >> 16;
    table.low[code] = static_cast<std::uint8_t>(bits);
    table.high[code] = static_cast<std::uint8_t>(bits >> 8);
  }
  return table;
}

constexpr float e4m3_magnitude(int code) {
  if (code == 127) return __builtin_nanf("");
  float value = code < 8 ? static_cast<float>(code) : static_cast<float>(8 + code % 8);
  for (int exponent = code < 8 ? 1 : code / 8; exponent < 10; ++exponent) value *= 0.5F;
  for (int exponent = 10; exponent < code / 8; ++exponent) value *= 2.0F;
  return value;
}

[[maybe_unused]] constexpr Bf16OfCode kBf16OfInt8 =
    bf16_of_code([](int code) { return static_cast<float>(code); });
[[maybe_unused]] constexpr Bf16OfCode kBf16OfFp8 = bf16_of_code(e4m3_magnitude);

}  // namespace
}  // namespace iol::cpu
