#pragma once
// The left operand of one token made by the blocks that multiply it, each in its shared memory:
// quicker than a kernel of its own before the product, which keeps one multiprocessor busy while
// the memory waits. (For two tokens it is slower already: every block makes them all.) The bits are
// those of prepare_rows.cu: each of the block's eight warps does the work of two of the sixteen in
// whose order a row is summed up.
#include "backend/cuda/kernels/linear_ring.cuh"
#include "backend/cuda/kernels/operand_rows.cuh"

namespace iol::cuda {

enum class OperandNumber : std::uint8_t { kBf16, kF16, kInt8, kFp8 };

/// Begins to bring the norm's weights into shared memory, before the kernels in front are over.
__device__ __forceinline__ void bring_norm(const RowSource& source, int columns, float* norm) {
  if (source.norm == nullptr) return;
  for (int column = 4 * static_cast<int>(threadIdx.x); column < columns;
       column += 4 * 32 * kNumParts)
    copy_async(norm + column, source.norm + column);
}

/// The token's row into `out`, its scale into `scale`; `norm`: of bring_norm(). kFours: runs of
/// kRunColumns columns, at least. kGroups: of copies begun since, which need not be here.
template <class Format, int kFours, int kGroups>
__device__ __forceinline__ void make_row(const LinearArgs& args, const RowSource& source,
                                         const float* norm, std::byte* out, float* scale) {
  constexpr bool kCoded =
      Format::kOperand == OperandNumber::kInt8 || Format::kOperand == OperandNumber::kFp8;
  constexpr int kStrips = kRowWarps / kNumParts;  // of 128 columns in a run, to a warp
  __shared__ float scratch[kRowWarps];
  const int size = args.matrix.columns;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const auto column = [&](int strip, int j) {
    return 4 * ((warp * kStrips + strip) * 32 + lane + j * kRowThreads);
  };
  float4 row[kStrips][kFours];
#pragma unroll
  for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
    for (int j = 0; j < kFours; ++j)
      row[strip][j] = load_four(source.x, source.element, 0, column(strip, j), size);
  }
  if (source.norm != nullptr) {
#pragma unroll
    for (int strip = 0; strip < kStrips; ++strip) {
      float squares = 0;
#pragma unroll
      for (int j = 0; j < kFours; ++j) squares = add_squares(squares, row[strip][j]);
      squares = warp_sum(squares);
      if (lane == 0) scratch[warp * kStrips + strip] = squares;
    }
    if constexpr (kGroups == 0) {
      wait_for_all_copies();
    } else {
      wait_for_copies<kGroups>();
    }
    __syncthreads();
    const float factor = norm_factor(scratch, size, source.eps);
#pragma unroll
    for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
      for (int j = 0; j < kFours; ++j)
        row[strip][j] = normalized(row[strip][j], factor,
                                   load_four(norm, Element::kF32, 0, column(strip, j), size));
    }
    if constexpr (kCoded) __syncthreads();  // scratch is read
  }
  float largest = 0;
  if constexpr (kCoded) {
#pragma unroll
    for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
      for (int j = 0; j < kFours; ++j) largest = fmaxf(largest, largest_of(row[strip][j]));
    }
    largest = warp_max(largest);
    if (lane == 0) scratch[warp] = largest;
    __syncthreads();
#pragma unroll
    for (int w = 0; w < kNumParts; ++w) largest = fmaxf(largest, scratch[w]);
  }
  const RowCoder coder(Format::kOperand == OperandNumber::kInt8, largest);
  if (kCoded && threadIdx.x == 0) *scale = coder.scale();
#pragma unroll
  for (int strip = 0; strip < kStrips; ++strip) {
#pragma unroll
    for (int j = 0; j < kFours; ++j) {
      const int at = column(strip, j);
      if (at >= args.matrix.padded_columns) continue;
      const float4& v = row[strip][j];
      if constexpr (Format::kOperand == OperandNumber::kFp8) {
        uint2 wide;
        e4m3_to_f16(coder.codes(v), wide.x, wide.y);
        *reinterpret_cast<uint2*>(out + at * 2) = wide;
      } else if constexpr (kCoded) {
        *reinterpret_cast<std::uint32_t*>(out + at) = coder.codes(v);
      } else if constexpr (Format::kOperand == OperandNumber::kBf16) {
        *reinterpret_cast<uint2*>(out + at * 2) = {to_bf16_pair(v.x, v.y), to_bf16_pair(v.z, v.w)};
      } else {
        *reinterpret_cast<uint2*>(out + at * 2) = {to_f16_pair(v.x, v.y), to_f16_pair(v.z, v.w)};
      }
    }
  }
  __syncthreads();
}

/// The row that the block makes, for sum_part() and sum_ring().
template <class Format, int kFours>
struct MadeHere {
  static constexpr bool kInShared = true;
  const LinearArgs& args;
  const RowSource& source;
  std::byte* made;
  float* norm;
  float* scale;
  __device__ __forceinline__ void prepare() const { bring_norm(source, args.matrix.columns, norm); }
  __device__ __forceinline__ void make() const { make_beside<0>(); }
  template <int kGroups>
  __device__ __forceinline__ void make_beside() const {
    make_row<Format, kFours, kGroups>(args, source, norm, made, scale);
  }
  [[nodiscard]] __device__ __forceinline__ const std::byte* row(int) const { return made; }
};

template <class Format>
IOL_HOST_DEVICE constexpr int made_row_bytes(const MatrixView& matrix) {
  return (matrix.padded_columns * Format::kOperandBytes + 15) / 16 * 16;
}

template <class Format, int kFours, int kTiles, int kDepth, int kMinBlocks>
__global__ void __launch_bounds__(32 * kNumParts, kMinBlocks)
    linear_making_kernel(const __grid_constant__ LinearArgs args,
                         const __grid_constant__ RowSource source) {
  extern __shared__ __align__(16) std::byte row_memory[];  // sums of the parts, the row, the norm
  __shared__ float scale;
  LinearArgs own = args;
  own.x_scales = &scale;
  std::byte* row = row_memory + kPartsBytes<kTiles, 1>;
  auto* norm = reinterpret_cast<float*>(row + made_row_bytes<Format>(args.matrix));
  multiply_block<Format, kTiles, 1, kDepth, 2>(
      own, MadeHere<Format, kFours>{args, source, row, norm, &scale},
      reinterpret_cast<float*>(row_memory));
}

/// Bytes of shared memory that a row takes besides what a product of rows made before needs.
template <class Format>
int making_bytes(const LinearTask& task) {
  return made_row_bytes<Format>(task.matrix) +
         (task.x.source.norm != nullptr ? task.matrix.columns * 4 : 0);
}

template <class Format, int kFours, int kTiles>
void launch_making(const LinearTask& task, StreamHandle stream) {
  constexpr bool kIsShort = kFours <= 2;  // leaves registers for more weights on their way
  constexpr int kDepth = kTiles == 2 ? 2 : kIsShort ? 8 : 4;
  constexpr int kMinBlocks = kTiles == 2 && kIsShort ? 3 : 2;
  auto* kernel = linear_making_kernel<Format, kFours, kTiles, kDepth, kMinBlocks>;
  const int bytes = kPartsBytes<kTiles, 1> + making_bytes<Format>(task);
  if (bytes > kSharedBytesUnasked)
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  launch_kernel(kernel, dim3(task.matrix.rows / (kTiles * kTileRows)), 32 * kNumParts, bytes,
                stream, linear_args<Format>(task), task.x.source);
}

template <class Format, int kFours, int kTiles, int kDepth>
__global__ void __launch_bounds__(32 * kNumParts)
    ring_making_kernel(const __grid_constant__ LinearArgs args,
                       const __grid_constant__ RowSource source, int ring_bytes) {
  using Rows = MadeHere<Format, kFours>;
  extern __shared__ uint4 shared_memory[];  // the rings, or sums of the parts; the row, the norm
  __shared__ float scale;
  LinearArgs own = args;
  own.x_scales = &scale;
  auto* rings = reinterpret_cast<std::byte*>(shared_memory);
  std::byte* row = rings + kNumParts * ring_bytes;
  auto* norm = reinterpret_cast<float*>(row + made_row_bytes<Format>(args.matrix));
  multiply_ring_block<Format, kTiles, kDepth>(own, Rows{args, source, row, norm, &scale}, rings,
                                              ring_bytes);
}

/// As launch_ring().
template <class Format, int kFours, int kTiles, int kDepth, int... kOthers>
void launch_ring_making(const LinearTask& task, StreamHandle stream) {
  using Rows = MadeHere<Format, kFours>;
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
                task.x.source, ring_bytes);
}

/// Gate and up in one block.
template <class Format, int kFours>
void launch_making(const LinearTask& task, StreamHandle stream) {
  const bool is_pair = task.epilogue == Epilogue::kSwiGlu;
  if constexpr (Format::kTakesRing) {
    if (takes_ring(task.matrix)) {
      return is_pair ? launch_ring_making<Format, kFours, 2, 4, 3, 2>(task, stream)
                     : launch_ring_making<Format, kFours, 1, 8, 6, 4, 2>(task, stream);
    }
  }
  is_pair ? launch_making<Format, kFours, 2>(task, stream)
          : launch_making<Format, kFours, 1>(task, stream);
}

/// A row of RowForm::kUnmade, see can_make_row().
template <class Format>
void launch_making(const LinearTask& task, StreamHandle stream) {
  task.matrix.padded_columns <= 2 * kRunColumns ? launch_making<Format, 2>(task, stream)
                                                : launch_making<Format, 4>(task, stream);
}

}  // namespace iol::cuda
