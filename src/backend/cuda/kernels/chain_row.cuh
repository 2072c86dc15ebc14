#pragma once
// A warp's part of a link's row, as the weights' format multiplies it.
#include "backend/cuda/kernels/chain_links.cuh"
#include "backend/cuda/kernels/make_row.cuh"
#include "backend/cuda/kernels/operand_groups.cuh"

namespace iol::cuda {

inline constexpr int kRowFours = 14;  // numbers of a lane that are on their way together, by four
inline constexpr int kNormFours = 8;
inline constexpr int kRowStride = 128;  // between fours of a lane

/// norm_factor() of the row that a link multiplies, from the squares left of it.
__device__ __forceinline__ float row_norm_factor(const RowSource& source, int columns) {
  return norm_factor(warp_sum(lane_squares(source.traits.squares, square_tiles(columns))), columns,
                     static_cast<float>(source.eps));
}

/// Behind the codes of an int4 matrix's row.
__device__ __forceinline__ GroupFacts* group_facts(const MatrixView& matrix, std::byte* row) {
  return reinterpret_cast<GroupFacts*>(row + matrix.padded_columns);
}

/// The part of one warp. A row with a norm has up to kMostNormedColumns.
template <class Format>
class PartRow {
 public:
  static_assert(kMostNormedColumns <= kNumParts * kNormFours * kRowStride);

  /// Before what the row is made of is there.
  __device__ __forceinline__ PartRow(const ChainLink& link, int part) : link_(link) {
    constexpr int kColumns = Format::kRowBytes / Format::kOperandBytes;  // of a block of K
    const BlockRange range = link_part<Format>(link, part);
    first_ = range.begin * kColumns + static_cast<int>(threadIdx.x) % 32 * 4;
    end_ = range.end * kColumns;
    if (link.source.norm != nullptr)
      load_fours<kRowStride>(link.source.norm, Element::kF32, first_, last(), norm_);
  }
  /// Behind that; `row`: of all warps.
  __device__ __forceinline__ void make(std::byte* row) const {
    const RowSource& source = link_.source;
    const int columns = link_.linear.matrix.columns;
    float4 v[kRowFours];
    load_fours<kRowStride>(source.x, source.element, first_, last(), v);
    if constexpr (Format::kHasGroups) {
      const float factor = source.norm != nullptr ? row_norm_factor(source, columns) : 1.0F;
      auto* facts = group_facts(link_.linear.matrix, row);
      store_all(v, [&](const float4& four, int at) {
        code_whole_group(
            source.norm != nullptr ? product(four, factor) : four, at,
            [&](int to, std::uint32_t codes) {
              *reinterpret_cast<std::uint32_t*>(row + to) = codes;
            },
            [&](int group, float scale, int sum) {
              facts[group] = {scale, sum};
            });
      });
    } else if constexpr (is_code(Format::kOperand)) {
      const RowCoder coder(Format::kOperand == OperandNumber::kInt8, row_largest(source, columns));
      store_all(v, [&](const float4& four, int at) { store_codes<Format>(row, at, four, coder); });
    } else if constexpr (Format::kHasTokenScales) {
      store_all(v, [&](const float4& four, int at) { store_halves<Format>(row, at, four); });
    } else {
      const float factor = source.norm != nullptr ? row_norm_factor(source, columns) : 1.0F;
      store_all(v, [&](const float4& four, int at) {
        store_halves<Format>(row, at, source.norm != nullptr ? product(four, factor) : four);
      });
    }
    __syncwarp();
  }

 private:
  [[nodiscard]] __device__ __forceinline__ int last() const {
    return min(end_, link_.linear.matrix.columns);
  }
  template <class Store>
  __device__ __forceinline__ void store_all(float4 (&v)[kRowFours], Store&& store) const {
    const RowSource& source = link_.source;
    if (source.norm != nullptr) {
#pragma unroll
      for (int j = 0; j < kNormFours; ++j) {
        if (first_ + j * kRowStride < end_) store(product(v[j], norm_[j]), first_ + j * kRowStride);
      }
      return;
    }
#pragma unroll 1
    for (int first = first_; first < end_;) {
#pragma unroll
      for (int j = 0; j < kRowFours; ++j) {
        if (first + j * kRowStride < end_) store(v[j], first + j * kRowStride);
      }
      first += kRowFours * kRowStride;
      if (first < end_) load_fours<kRowStride>(source.x, source.element, first, last(), v);
    }
  }

  const ChainLink& link_;
  int first_;
  int end_;
  float4 norm_[kNormFours];
};

}  // namespace iol::cuda
