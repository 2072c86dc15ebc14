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
  std::vector<SquareSum> squares;  // of each 16 numbers: of fours in f32, rounded, then added
  std::vector<float> largest;      // of each 16: |number * norm|, or |number|

  RowTraitsOnHost(std::span<const float> row, std::span<const float> norm) {
    for (std::size_t first = 0; first < row.size(); first += kTileRows) {
      std::array<float, kTileRows> square = {};
      float most = 0;
      for (std::size_t i = 0; i < kTileRows && first + i < row.size(); ++i) {
        const float x = row[first + i];
        square[i] = x * x;
        const float product = norm.empty() ? x : x * norm[first + i];
        most = std::max(most, std::fabs(product));
      }
      SquareSum sum = 0;
      for (std::size_t i = 0; i < kTileRows; i += 4) {
        const float four = (square[i] + square[i + 1]) + (square[i + 2] + square[i + 3]);
        sum += static_cast<SquareSum>(std::nearbyint(four / kSquareUnit));
      }
      squares.push_back(sum);
      largest.push_back(most);
    }
  }
};

/// The same in device memory.
class RowTraitsOnDevice {
 public:
  explicit RowTraitsOnDevice(const RowTraitsOnHost& host)
      : squares_(host.squares.size() * sizeof(SquareSum), "squares"),
        largest_(host.largest.size() * 4, "largest") {
    copy_to_device(squares_.data(), host.squares.data(), squares_.size_bytes(), "squares");
    copy_to_device(largest_.data(), host.largest.data(), largest_.size_bytes(), "largest");
  }
  [[nodiscard]] RowTraits view() const {
    return {squares_.as<SquareSum>(), largest_.as<float>(),
            static_cast<int>(largest_.size_bytes() / 4)};
  }

 private:
  DeviceBuffer squares_, largest_;
};

}  // namespace iol::cuda
