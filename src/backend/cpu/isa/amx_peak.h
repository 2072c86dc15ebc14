#pragma once
// Tile products at full speed and nothing else: what `iol doctor` measures a processor's peaks
// with.
#include <cstdint>

#include "backend/cpu/isa/amx_tile.h"
#include "backend/cpu/kernel_table.h"

namespace iol::cpu {
namespace {

/// Returns the number of operations (a multiply and an add are two); x has kXBytes for an element.
template <class Product, std::int64_t kXBytes>
inline std::int64_t peak_amx(std::int64_t rounds) {
  Tiles tiles;
  tiles.set_shapes({kTileRows, kTileRows, kTileBytes});
  for (std::int64_t round = 0; round < rounds; ++round) {
    Product::template add<kUpperLeft, kUpperX, kEvenW>();
    Product::template add<kUpperRight, kUpperX, kOddW>();
    Product::template add<kLowerLeft, kLowerX, kEvenW>();
    Product::template add<kLowerRight, kLowerX, kOddW>();
  }
  constexpr std::int64_t kProducts = kTileRows * kBlockColumns * (kTileBytes / kXBytes);
  return rounds * 4 * kProducts * 2;
}

}  // namespace
}  // namespace iol::cpu
