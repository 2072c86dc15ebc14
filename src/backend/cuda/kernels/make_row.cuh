#pragma once
// The product of one token whose left operand is made by the blocks that multiply it, each in its
// shared memory: quicker than a kernel of its own before the product, which keeps one
// multiprocessor busy while the memory waits. (For two tokens it is slower already: every block
// makes them all.) The bits are those of prepare_rows.cu.
//
// Each of the block's eight warps makes the part of the row that it multiplies. Of codes it waits
// for no other: what all of the row is scaled by was left by the kernel that wrote it (RowTraits),
// and the norm's factor is wanted only at the end. Numbers of 16 bits want it before: the warps
// find the squares of their parts and meet once. (With squares that were left a step in bf16 is
// slower: output and down, which read their rows as they are, would have to leave them.)
#include "backend/cuda/kernels/finish_row.cuh"
#include "backend/cuda/kernels/linear_ring.cuh"

namespace iol::cuda {

enum class OperandNumber : std::uint8_t { kBf16, kF16, kInt8, kFp8 };

/// What a thread knows of the row.
struct RowFacts {
  float squares = 0;  // coded rows with a norm, the first warp: lane_squares()
  float scale = 0;    // coded rows: but for the norm's factor
};

/// The row that the block makes, for sum_part() and sum_ring(). kFours: of a part, held at a time.
template <class Format, int kTiles, int kFours>
struct MadeHere {
  static constexpr bool kInShared = true;
  static constexpr bool kCoded =
      Format::kOperand == OperandNumber::kInt8 || Format::kOperand == OperandNumber::kFp8;
  const LinearArgs& args;
  const RowSource& source;
  std::byte* made;
  float* norm;
  RowFinish<Format, kTiles>& finish;
  RowFacts& facts;

  /// Begins to bring the norm's weights into shared memory; lanes read what they have copied.
  __device__ __forceinline__ void prepare() const {
    if (source.norm == nullptr) return;
    const int end = min(end_column(), args.matrix.columns);
    for (int column = first_column(); column < end; column += kStride)
      copy_async(norm + column, source.norm + column);
  }
  __device__ __forceinline__ void make() const { make_beside<0>(); }
  template <int kGroups>
  __device__ __forceinline__ void make_beside() const {
    const int end = end_column();
    int first = first_column();
    float4 row[kFours];
    load(first, end, row);
    finish.load_old();
    float largest = 0;
    if constexpr (kCoded) {
      largest = find_largest();
      if (source.norm != nullptr && threadIdx.x < 32)
        facts.squares = lane_squares(source.traits.squares, square_tiles(args.matrix.columns));
    }
    float factor = 1;
    if (source.norm != nullptr) {
      if constexpr (!kCoded) factor = find_factor(first, end, row);
      if constexpr (kGroups == 0) {
        wait_for_all_copies();
      } else {
        wait_for_copies<kGroups>();
      }
    }
    const RowCoder coder(Format::kOperand == OperandNumber::kInt8, largest);
    if constexpr (kCoded) facts.scale = coder.scale();
    while (true) {
#pragma unroll
      for (int j = 0; j < kFours; ++j) {
        const int at = first + j * kStride;
        if (at >= end) continue;
        float4 v = row[j];
        if (source.norm != nullptr) {
          v = product(v, load_four(norm, Element::kF32, 0, at, args.matrix.columns));
          if constexpr (!kCoded) v = product(v, factor);
        }
        store(at, v, coder);
      }
      first += kFours * kStride;
      if (first >= end) break;
      load(first, end, row);
    }
    __syncwarp();
  }
  [[nodiscard]] __device__ __forceinline__ const std::byte* row(int) const { return made; }

 private:
  static constexpr int kStride = 128;  // between fours of a lane
  // Of the warp's part.
  [[nodiscard]] __device__ __forceinline__ int block_columns() const {
    return Format::kRowBytes / Format::kOperandBytes;
  }
  [[nodiscard]] __device__ __forceinline__ int first_column() const {
    return part_blocks(args.matrix, static_cast<int>(threadIdx.x) / 32).begin * block_columns() +
           static_cast<int>(threadIdx.x) % 32 * 4;
  }
  [[nodiscard]] __device__ __forceinline__ int end_column() const {
    return part_blocks(args.matrix, static_cast<int>(threadIdx.x) / 32).end * block_columns();
  }
  __device__ __forceinline__ void load(int first, int end, float4 (&row)[kFours]) const {
#pragma unroll
    for (int j = 0; j < kFours; ++j) {
      const int at = first + j * kStride;
      row[j] = load_four(source.x, source.element, 0, at, min(end, args.matrix.columns));
    }
  }
  /// The norm's factor, of all warps' parts; `row`: the first of the lane's.
  [[nodiscard]] __device__ __forceinline__ float find_factor(int first, int end,
                                                             float4 (&row)[kFours]) const {
    const int columns = args.matrix.columns;
    float* tiles = norm + columns;
    const int lane = threadIdx.x % 32;
    int base = first - 4 * lane;  // the same in all lanes
    while (true) {
#pragma unroll
      for (int j = 0; j < kFours; ++j) {
        float squares = four_squares(row[j]);
        squares += __shfl_xor_sync(0xffffffffU, squares, 1);
        squares += __shfl_xor_sync(0xffffffffU, squares, 2);
        const int at = base + 4 * lane + j * kStride;
        if (lane % 4 == 0 && at < min(end, columns)) tiles[at / 16] = squares;
      }
      base += kFours * kStride;
      if (base >= end) break;
      load(base + 4 * lane, end, row);
    }
    if (base > first - 4 * lane + kFours * kStride) load(first, end, row);
    __syncthreads();
    return norm_factor(lane_squares(tiles, square_tiles(columns)), columns, source.eps);
  }
  /// The largest magnitude of the row: what was left of it, or all of it.
  [[nodiscard]] __device__ __forceinline__ float find_largest() const {
    const int lane = threadIdx.x % 32;
    float largest = 0;
    if (source.traits.largest != nullptr) {
#pragma unroll 4
      for (int i = lane; i < source.traits.num_largest; i += 32)
        largest = fmaxf(largest, source.traits.largest[i]);
    } else {
      for (int at = 4 * lane; at < args.matrix.columns; at += kStride)
        largest = fmaxf(
            largest, largest_of(load_four(source.x, source.element, 0, at, args.matrix.columns)));
    }
    return warp_largest(largest);
  }
  __device__ __forceinline__ void store(int at, const float4& v, const RowCoder& coder) const {
    if constexpr (Format::kOperand == OperandNumber::kFp8) {
      uint2 wide;
      e4m3_to_f16(coder.codes(v), wide.x, wide.y);
      *reinterpret_cast<uint2*>(made + at * 2) = wide;
    } else if constexpr (kCoded) {
      *reinterpret_cast<std::uint32_t*>(made + at) = coder.codes(v);
    } else if constexpr (Format::kOperand == OperandNumber::kBf16) {
      *reinterpret_cast<uint2*>(made + at * 2) = {to_bf16_pair(v.x, v.y), to_bf16_pair(v.z, v.w)};
    } else {
      *reinterpret_cast<uint2*>(made + at * 2) = {to_f16_pair(v.x, v.y), to_f16_pair(v.z, v.w)};
    }
  }
};

template <class Format>
IOL_HOST_DEVICE constexpr int made_row_bytes(const MatrixView& matrix) {
  return (matrix.padded_columns * Format::kOperandBytes + 15) / 16 * 16;
}

/// Sums up a block's rows by `sum`, which gets the row and where a warp's sums go, and finishes
/// them. `memory`: see making_bytes().
template <class Format, int kTiles, int kFours, class Sum>
__device__ __forceinline__ void multiply_row(const LinearArgs& args, const RowSource& source,
                                             const RowFinishArgs& finish_args, std::byte* memory,
                                             Sum sum) {
  constexpr int kRows = kTiles * kTileRows;
  __shared__ float parts[kNumParts * kRows];
  const int part = threadIdx.x / 32;
  RowFinish<Format, kTiles> finish(finish_args, args.matrix);
  RowFacts facts;
  auto* norm = reinterpret_cast<float*>(memory + made_row_bytes<Format>(args.matrix));
  typename Format::Sum sums[kTiles][1] = {};
  sum(MadeHere<Format, kTiles, kFours>{args, source, memory, norm, finish, facts},
      static_cast<int>(blockIdx.x) * kTiles, part, sums);
  store_row_part<Format, kTiles>(sums, parts + part * kRows);
  float scale = facts.scale;
  if (threadIdx.x < 32 && source.norm != nullptr)
    scale = __fmul_rn(scale, norm_factor(facts.squares, args.matrix.columns, source.eps));
  __syncthreads();
  if (threadIdx.x < 32) finish.finish(parts, scale);
}

template <class Format, int kFours, int kTiles, int kDepth, int kMinBlocks>
__global__ void __launch_bounds__(32 * kNumParts, kMinBlocks)
    linear_making_kernel(const __grid_constant__ LinearArgs args,
                         const __grid_constant__ RowSource source,
                         const __grid_constant__ RowFinishArgs finish) {
  extern __shared__ __align__(16) std::byte row_memory[];
  multiply_row<Format, kTiles, kFours>(args, source, finish, row_memory,
                                       [&](const auto& made, int first_tile, int part, auto& sums) {
                                         sum_part<Format, kDepth, kDepth % 2 == 0 ? 2 : 1>(
                                             args, made, first_tile, 0, part, sums);
                                       });
}

/// Bytes of shared memory that a row takes: itself, the norm's weights and its squares.
template <class Format>
int making_bytes(const LinearTask& task) {
  const int norm = 4 * (task.matrix.columns + square_tiles(task.matrix.columns));
  return made_row_bytes<Format>(task.matrix) + (task.x.source.norm != nullptr ? norm : 0);
}

template <class Format, int kFours, int kTiles, int kDepth, int kMinBlocks>
void launch_making(const LinearTask& task, StreamHandle stream) {
  auto* kernel = linear_making_kernel<Format, kFours, kTiles, kDepth, kMinBlocks>;
  const int bytes = making_bytes<Format>(task);
  if (bytes > kSharedBytesUnasked)
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  launch_kernel(kernel, dim3(task.matrix.rows / (kTiles * kTileRows)), 32 * kNumParts, bytes,
                stream, linear_args<Format>(task), task.x.source, row_finish_args(task));
}

template <class Format, int kFours, int kTiles, int kDepth>
__global__ void __launch_bounds__(32 * kNumParts)
    ring_making_kernel(const __grid_constant__ LinearArgs args,
                       const __grid_constant__ RowSource source,
                       const __grid_constant__ RowFinishArgs finish, int ring_bytes) {
  extern __shared__ uint4 shared_memory[];  // the rings; the row, the norm
  auto* rings = reinterpret_cast<std::byte*>(shared_memory);
  multiply_row<Format, kTiles, kFours>(args, source, finish, rings + kNumParts * ring_bytes,
                                       [&](const auto& made, int first_tile, int part, auto& sums) {
                                         sum_ring<Format, kDepth>(args, made, first_tile, 0, part,
                                                                  rings + part * ring_bytes, sums);
                                       });
}

/// As launch_ring().
template <class Format, int kFours, int kTiles, int kDepth, int... kOthers>
void launch_ring_making(const LinearTask& task, StreamHandle stream) {
  using Rows = MadeHere<Format, kTiles, kFours>;
  const int ring_bytes = ring_bytes_of<Format, Rows, kTiles, kDepth>(task.matrix);
  const int bytes = kNumParts * ring_bytes + making_bytes<Format>(task);
  const dim3 grid(task.matrix.rows / (kTiles * kTileRows));
  if constexpr (sizeof...(kOthers) > 0) {
    if (!leaves_room(static_cast<int>(grid.x), bytes))
      return launch_ring_making<Format, kFours, kTiles, kOthers...>(task, stream);
  }
  auto* kernel = ring_making_kernel<Format, kFours, kTiles, kDepth>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  launch_kernel(kernel, grid, 32 * kNumParts, bytes, stream, linear_args<Format>(task),
                task.x.source, row_finish_args(task), ring_bytes);
}

/// Gate and up in one block.
template <class Format, int kFours>
void launch_ring_making(const LinearTask& task, StreamHandle stream) {
  task.epilogue == Epilogue::kSwiGlu
      ? launch_ring_making<Format, kFours, 2, 4, 3, 2>(task, stream)
      : launch_ring_making<Format, kFours, 1, 8, 6, 4, 2>(task, stream);
}

/// Likewise, with weights in registers. What a block holds of them also decides how many blocks of
/// the kernels to come find room.
template <class Format, int kFours>
void launch_held_making(const LinearTask& task, StreamHandle stream) {
  constexpr int kPairBlocks = kFours <= 4 ? 3 : 2;  // to a multiprocessor
  if (task.epilogue == Epilogue::kSwiGlu)
    return launch_making<Format, kFours, 2, 2, kPairBlocks>(task, stream);
  if constexpr (kFours == 2) {
    launch_making<Format, kFours, 1, 4, 2>(task, stream);  // all of a part
  } else {
    if constexpr (kFours > 4) {  // long rows, a block to a multiprocessor: nearly all of a part
      if (task.matrix.rows <= multiprocessors() * kTileRows)
        return launch_making<Format, kFours, 1, 12, 1>(task, stream);
    }
    launch_making<Format, kFours, 1, 8, 2>(task, stream);
  }
}

/// A row of RowForm::kUnmade, see can_make_row().
template <class Format>
void launch_making(const LinearTask& task, StreamHandle stream) {
  const int part = task.matrix.padded_columns / kNumParts;
  if constexpr (Format::kTakesRing) {
    if (takes_ring(task.matrix))
      return part <= 256 ? launch_ring_making<Format, 2>(task, stream)
                         : launch_ring_making<Format, 6>(task, stream);
  } else {
    if (part <= 256) return launch_held_making<Format, 2>(task, stream);
  }
  part <= 512 ? launch_held_making<Format, 4>(task, stream)
              : launch_held_making<Format, 6>(task, stream);
}

}  // namespace iol::cuda
