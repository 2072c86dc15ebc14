#pragma once
// The tile registers of AMX: eight of up to 16 rows of 64 bytes each, and a product of two of them,
// added to a third:
//   sums[r][c] += sum over k of x[r][k] * w[k][c]      r < 16 rows, c < 16 columns, 64 bytes of k
//
// The instruction takes w in pairs (bf16) or fours (bytes) along k, [k / step][16][step], which is
// how panels are packed. Sums of bf16 products are rounded in an order of its own; it depends on
// neither the number of rows nor their neighbours.
//
// Written as assembly: the intrinsics of GCC 12 don't tell the compiler which memory they read.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace iol::cpu {
namespace {

inline constexpr std::int64_t kTileRows = 16;
inline constexpr std::int64_t kTileBytes = 64;  // of a row

/// The registers, by what they hold: sums of two times two tiles, or of one times four; left
/// operands of the upper and of the lower rows; right operands, which take turns.
enum Tile : int {
  kUpperLeft,
  kUpperRight,
  kLowerLeft,
  kLowerRight,
  kUpperX,
  kLowerX,
  kEvenW,
  kOddW,
};

/// The shapes of all registers: a right operand has 16 columns and as many rows as fours of bytes
/// are multiplied at a time.
struct TileShapes {
  std::int64_t upper_rows = 0;
  std::int64_t lower_rows = 0;
  std::int64_t x_bytes = 0;  // of a row: 64, or what is left of it
  bool operator==(const TileShapes&) const = default;
};

/// The calling thread's tile registers, given back at the end: a thread without live tiles is
/// switched faster.
class Tiles {
 public:
  Tiles() = default;
  ~Tiles() { asm volatile("tilerelease"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  /// Clears the registers where their shapes change.
  void set_shapes(const TileShapes& shapes) {
    if (shapes == shapes_) return;
    shapes_ = shapes;
    Configuration all;
    for (int tile = 0; tile < kNumTiles; ++tile) {
      const bool is_x = tile == kUpperX || tile == kLowerX;
      const bool is_w = tile == kEvenW || tile == kOddW;
      const bool is_lower = tile == kLowerLeft || tile == kLowerRight || tile == kLowerX;
      const std::int64_t rows = is_w       ? shapes.x_bytes / 4
                                : is_lower ? shapes.lower_rows
                                           : shapes.upper_rows;
      all.rows[tile] = static_cast<std::uint8_t>(rows);
      all.row_bytes[tile] = static_cast<std::uint16_t>(is_x ? shapes.x_bytes : kTileBytes);
    }
    asm volatile("ldtilecfg %0" : : "m"(all));
  }

 private:
  static constexpr int kNumTiles = 8;
  struct alignas(64) Configuration {
    std::uint8_t palette = 1;
    std::uint8_t start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
  };
  TileShapes shapes_;
};

/// Rows `stride` bytes apart.
template <Tile kTile>
inline void load_tile(const void* p, std::int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(p), "r"(stride), "i"(kTile) : "memory");
}
template <Tile kTile>
inline void store_tile(void* p, std::int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(p), "r"(stride), "i"(kTile) : "memory");
}
template <Tile kTile>
inline void zero_tile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}

/// bf16 x bf16, f32 sums.
struct Bf16Product {
  template <Tile kSums, Tile kX, Tile kW>
  static void add() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kX), "i"(kW));
  }
};
/// u8 x i8, i32 sums.
struct BytesProduct {
  template <Tile kSums, Tile kX, Tile kW>
  static void add() {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kX), "i"(kW));
  }
};
/// i8 x u8, i32 sums.
struct NibblesProduct {
  template <Tile kSums, Tile kX, Tile kW>
  static void add() {
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kX), "i"(kW));
  }
};

}  // namespace
}  // namespace iol::cpu
