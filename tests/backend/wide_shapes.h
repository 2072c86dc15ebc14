#pragma once
// Shapes of blocks that products of compute capability 9.0 may have, has_shape() or not.
#include <vector>

#include "backend/cuda/kernels/kernels.h"

namespace iol::cuda {

inline constexpr WideShape kLargeShapes[] = {{256, 1, 128}, {256, 2, 128}, {128, 2, 128}};

inline std::vector<WideShape> all_shapes() {
  std::vector<WideShape> shapes;
  for (const int tokens : {16, 32, 64}) {
    for (const int split : {1, 4, 8}) {
      for (const int rows : {32, 96, 128, 192}) shapes.push_back({tokens, split, rows});
    }
  }
  for (const int rows : {64, 128, 160, 192}) shapes.push_back({128, 1, rows});
  for (const WideShape& shape : kLargeShapes) shapes.push_back(shape);
  // Blocks that share units: each begins and ends in another's.
  const auto whole = shapes;
  for (const int sharers : {2, 3, 7}) {
    for (WideShape shape : whole) {
      shape.sharers = sharers;
      shapes.push_back(shape);
    }
  }
  for (const int tokens : {16, 32, 64}) {
    for (const int split : {4, 8}) {
      for (const int rows : {32, 96, 128})
        shapes.push_back({.tokens = tokens, .split = split, .rows = rows, .is_apart = true});
    }
  }
  return shapes;
}

}  // namespace iol::cuda
