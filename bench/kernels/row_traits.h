#pragma once
// What a kernel leaves of a row it writes (RowTraits), computed on the host: for tests and timing.
#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <vector>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernels/kernels.h"

namespace iol::cuda {

struct RowTraitsOnHost {
  std::vector<float> squares;  // of each 16 numbers: pairs, pairs of pairs ... in f32
  std::vector<float> largest;  // of each 16: |number * norm|, or |number|

  RowTraitsOnHost(std::span<const float> row, std::span<const float> norm) {
    for (std::size_t first = 0; first < row.size(); first += kTileRows) {
      std::array<float, kTileRows> tree = {};
      float most = 0;
      for (std::size_t i = 0; i < kTileRows && first + i < row.size(); ++i) {
        const float x = row[first + i];
        tree[i] = x * x;
        const float product = norm.empty() ? x : x * norm[first + i];
        most = std::max(most, std::fabs(product));
      }
      for (std::size_t count = kTileRows / 2; count > 0; count /= 2) {
        for (std::size_t i = 0; i < count; ++i) tree[i] = tree[2 * i] + tree[2 * i + 1];
      }
      squares.push_back(tree[0]);
      largest.push_back(most);
    }
  }
};

/// The same in device memory.
class RowTraitsOnDevice {
 public:
  explicit RowTraitsOnDevice(const RowTraitsOnHost& host)
      : squares_(host.squares.size() * 4, "squares"), largest_(host.largest.size() * 4, "largest") {
    copy_to_device(squares_.data(), host.squares.data(), squares_.size_bytes(), "squares");
    copy_to_device(largest_.data(), host.largest.data(), largest_.size_bytes(), "largest");
  }
  [[nodiscard]] RowTraits view() const {
    return {squares_.as<float>(), largest_.as<float>(),
            static_cast<int>(largest_.size_bytes() / 4)};
  }

 private:
  DeviceBuffer squares_, largest_;
};

}  // namespace iol::cuda
