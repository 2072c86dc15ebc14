#pragma once
// The register tile that every matrix product of the step is made of:
//   out[r][c] = partial[r][c] + sum over k of x[r][k] * w[k][c]
// for up to max_rows() rows and 1, 2 or 4 blocks of sixteen columns.
//
// Each output element is one accumulator that walks k in ascending order, whatever the number of
// rows and blocks in the tile: results do not depend on how rows were grouped. That is where batch
// invariance comes from.
#include <cstddef>
#include <cstdint>

namespace iol::cpu {
namespace {

/// The operands of a tile; strides are in elements unless they say bytes.
template <class Format>
struct TileOperands {
  const typename Format::Activation* x;  // [rows, x_stride]
  std::int64_t x_stride;
  const std::byte* w;                   // block 0 of step 0
  std::int64_t w_step_bytes;            // between steps of K
  std::int64_t num_steps;               // K / Format::kStep
  const std::byte* prefetch = nullptr;  // what to fetch while the tiles compute
  std::int64_t prefetch_bytes = 0;      // of it, spread over all tiles by multiply()
  int prefetch_lines = 0;               // cache lines of it in a step of this tile
  const float* partial;                 // [rows, partial_stride], or null for zero
  std::int64_t partial_stride;
  float* out;  // [rows, out_stride]
  std::int64_t out_stride;
};

/// The parts that a step is multiplied in, one after the other: a format that unpacks several
/// operands from the same bytes would fill the registers with all of them at once.
template <class Format>
constexpr int parts_of_step() {
  if constexpr (requires { Format::kParts; }) return Format::kParts;
  return 1;
}

template <int kPart, class Format>
inline typename Format::Columns load_part(const std::byte* p) {
  if constexpr (parts_of_step<Format>() > 1) {
    return Format::template load<kPart>(p);
  } else {
    return Format::load(p);
  }
}

/// sum += one part of a step.
template <int kPart, class Format, class F, int kRows, int kBlocks>
inline void multiply_part(F (&sum)[kRows][kBlocks], const typename Format::Activation* x,
                          std::int64_t x_stride, const std::byte* w) {
  typename Format::Columns columns[kBlocks];
#pragma GCC unroll 4
  for (int b = 0; b < kBlocks; ++b) {
    columns[b] = load_part<kPart, Format>(w + b * Format::kBlockBytes);
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) {
      sum[r][b] = Format::accumulate(sum[r][b], x + r * x_stride, columns[b]);
    }
  }
}

template <class S, class Format, int kRows, int kBlocks>
inline void multiply_tile(const TileOperands<Format>& t) {
  typename S::F sum[kRows][kBlocks];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) {
      sum[r][b] =
          t.partial != nullptr ? S::load(t.partial + r * t.partial_stride + b * 16) : S::zero();
    }
  }
  const std::byte* w = t.w;
  const typename Format::Activation* x = t.x;
  const std::byte* prefetch = t.prefetch;
  for (std::int64_t step = 0; step < t.num_steps; ++step) {
    multiply_part<0, Format>(sum, x, t.x_stride, w);
    if constexpr (parts_of_step<Format>() == 2) {
      multiply_part<1, Format>(sum, x + Format::kStep / 2, t.x_stride, w);
    }
    for (int line = 0; line < t.prefetch_lines; ++line, prefetch += 64) S::prefetch(prefetch);
    w += t.w_step_bytes;
    x += Format::kStep;
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) S::store(t.out + r * t.out_stride + b * 16, sum[r][b]);
  }
}

/// Rows that fit the registers with this many blocks.
template <class S, int kBlocks>
constexpr int max_rows() {
  constexpr int kRows = S::kMaxAccumulators / kBlocks;
  return kRows < 1 ? 1 : kRows > 8 ? 8 : kRows;
}

template <class S, class Format, int kBlocks>
inline void multiply_rows(int rows, const TileOperands<Format>& t) {
  constexpr int kMost = max_rows<S, kBlocks>();
  if constexpr (kMost >= 8)
    if (rows == 8) return multiply_tile<S, Format, 8, kBlocks>(t);
  if constexpr (kMost >= 7)
    if (rows == 7) return multiply_tile<S, Format, 7, kBlocks>(t);
  if constexpr (kMost >= 6)
    if (rows == 6) return multiply_tile<S, Format, 6, kBlocks>(t);
  if constexpr (kMost >= 5)
    if (rows == 5) return multiply_tile<S, Format, 5, kBlocks>(t);
  if constexpr (kMost >= 4)
    if (rows == 4) return multiply_tile<S, Format, 4, kBlocks>(t);
  if constexpr (kMost >= 3)
    if (rows == 3) return multiply_tile<S, Format, 3, kBlocks>(t);
  if constexpr (kMost >= 2)
    if (rows == 2) return multiply_tile<S, Format, 2, kBlocks>(t);
  multiply_tile<S, Format, 1, kBlocks>(t);
}

/// Any number of rows, in tiles of even height. Each tile fetches its share of t.prefetch, so that
/// what comes next in memory streams in while they compute.
template <class S, class Format, int kBlocks>
inline void multiply(std::int64_t num_rows, TileOperands<Format> t) {
  // Few and narrow divisions: before Ice Lake one of 64 bits takes as long as five steps of a tile.
  constexpr std::uint32_t kMost = max_rows<S, kBlocks>();
  const auto num_tiles = (static_cast<std::uint32_t>(num_rows) + kMost - 1) / kMost;
  const std::uint32_t height = static_cast<std::uint32_t>(num_rows) / num_tiles;
  const std::uint32_t num_higher = static_cast<std::uint32_t>(num_rows) - height * num_tiles;
  const std::byte* next = t.prefetch;
  const std::byte* next_end = next + t.prefetch_bytes;
  const std::uint32_t steps = num_tiles * static_cast<std::uint32_t>(t.num_steps);
  const auto lines = (static_cast<std::uint32_t>(t.prefetch_bytes / 64) + steps - 1) / steps;
  for (std::uint32_t tile = 0; tile < num_tiles; ++tile) {
    const std::int64_t rows = height + (tile < num_higher ? 1 : 0);
    t.prefetch = next;
    t.prefetch_lines = next < next_end ? static_cast<int>(lines) : 0;
    next += t.prefetch_lines * t.num_steps * 64;
    multiply_rows<S, Format, kBlocks>(static_cast<int>(rows), t);
    t.x += rows * t.x_stride;
    if (t.partial != nullptr) t.partial += rows * t.partial_stride;
    t.out += rows * t.out_stride;
  }
}

}  // namespace
}  // namespace iol::cpu
