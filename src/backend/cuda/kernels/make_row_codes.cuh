#pragma once
// The product of one token whose left operand is codes, see make_row.cuh.
//
// Each of the block's eight warps makes the part of the row that it multiplies, and waits for no
// other: what all of the row is scaled by was left by the kernel that wrote it (RowTraits), and the
// norm's factor is wanted only at the end.
#include "backend/cuda/kernels/finish_row.cuh"
#include "backend/cuda/kernels/make_row.cuh"

namespace iol::cuda {

/// What a thread knows of the row.
struct RowFacts {
  SquareSum squares = 0;  // with a norm, the first warp: lane_squares()
  float scale = 0;        // but for the norm's factor
};

/// The row that the block makes, for sum_part(). kFours: of a part, held at a time.
template <class Format, int kTiles, int kFours>
struct MadeCodes {
  static constexpr bool kInShared = true;
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
  __device__ __forceinline__ void make() const {
    const int end = end_column();
    int first = first_column();
    float4 row[kFours];
    load(first, end, row);
    finish.load_old();
    const float largest = row_largest(source, args.matrix.columns);
    if (source.norm != nullptr) {
      if (threadIdx.x < 32)
        facts.squares = lane_squares(source.traits.squares, square_tiles(args.matrix.columns));
      wait_for_all_copies();
    }
    const RowCoder coder(Format::kOperand == OperandNumber::kInt8, largest);
    facts.scale = coder.scale();
    while (true) {
#pragma unroll
      for (int j = 0; j < kFours; ++j) {
        const int at = first + j * kStride;
        if (at >= end) continue;
        float4 v = row[j];
        if (source.norm != nullptr)
          v = product(v, load_four(norm, Element::kF32, 0, at, args.matrix.columns));
        store_codes<Format>(made, at, v, coder);
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
};

template <class Format, int kFours, int kTiles, int kDepth, int kMinBlocks>
__global__ void __launch_bounds__(32 * kNumParts, kMinBlocks)
    codes_making_kernel(const __grid_constant__ LinearArgs args,
                        const __grid_constant__ RowSource source,
                        const __grid_constant__ RowFinishArgs finish_args) {
  constexpr int kRows = kTiles * kTileRows;
  extern __shared__ __align__(16) std::byte row_memory[];  // the row, the norm
  __shared__ float parts[kNumParts * kRows];
  const int part = threadIdx.x / 32;
  RowFinish<Format, kTiles> finish(finish_args, args.matrix, static_cast<int>(blockIdx.x),
                                   static_cast<int>(threadIdx.x));
  RowFacts facts;
  auto* norm = reinterpret_cast<float*>(row_memory + made_row_bytes<Format>(args.matrix));
  typename Format::Sum sums[kTiles][1] = {};
  sum_part<Format, kDepth, kDepth % 2 == 0 ? 2 : 1>(
      args, MadeCodes<Format, kTiles, kFours>{args, source, row_memory, norm, finish, facts},
      static_cast<int>(blockIdx.x) * kTiles, 0, part, sums);
  store_row_part<Format, kTiles>(sums, parts + part * kRows);
  float scale = facts.scale;
  if (threadIdx.x < 32 && source.norm != nullptr)
    scale = __fmul_rn(scale, norm_factor(warp_sum(facts.squares), args.matrix.columns,
                                         static_cast<float>(source.eps)));
  __syncthreads();
  if (threadIdx.x < 32) finish.finish(parts, scale);
}

template <class Format, int kFours, int kTiles, int kDepth, int kMinBlocks>
void launch_making_codes(const LinearTask& task, StreamHandle stream) {
  auto* kernel = codes_making_kernel<Format, kFours, kTiles, kDepth, kMinBlocks>;
  const int bytes = making_bytes<Format>(task);
  launch_kernel(kernel, dim3(task.matrix.rows / (kTiles * kTileRows)), 32 * kNumParts, bytes,
                stream, linear_args<Format>(task), task.x.source, row_finish_args(task));
}

/// Gate and up in one block. What a block holds of weights also decides how many blocks of the
/// kernels to come find room.
template <class Format, int kFours>
void launch_making_codes(const LinearTask& task, StreamHandle stream) {
  constexpr int kPairBlocks = kFours <= 4 ? 3 : 2;  // to a multiprocessor
  if (task.epilogue == Epilogue::kSwiGlu)
    return launch_making_codes<Format, kFours, 2, 2, kPairBlocks>(task, stream);
  if constexpr (kFours == 2) {
    launch_making_codes<Format, kFours, 1, 4, 2>(task, stream);  // all of a part
  } else {
    if constexpr (kFours > 4) {  // long rows, a block to a multiprocessor: nearly all of a part
      if (task.matrix.rows <= multiprocessors() * kTileRows)
        return launch_making_codes<Format, kFours, 1, 12, 1>(task, stream);
    }
    launch_making_codes<Format, kFours, 1, 8, 2>(task, stream);
  }
}

/// A row of RowForm::kUnmade, see can_make_row().
template <class Format>
void launch_making_codes(const LinearTask& task, StreamHandle stream) {
  const int part = task.matrix.padded_columns / kNumParts;
  if (part <= 256) return launch_making_codes<Format, 2>(task, stream);
  part <= 512 ? launch_making_codes<Format, 4>(task, stream)
              : launch_making_codes<Format, 6>(task, stream);
}

}  // namespace iol::cuda
