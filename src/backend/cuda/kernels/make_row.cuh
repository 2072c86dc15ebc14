#pragma once
// The left operand of one token made by the blocks that multiply it, each in its shared memory:
// quicker than a kernel of its own before the product, which keeps one multiprocessor busy while
// the memory waits. (For two tokens it is slower already: every block makes them all.) The bits are
// those of prepare_rows.cu: each of the block's eight warps does the work of two of the sixteen in
// whose order a row is summed up.
#include "backend/cuda/kernels/linear_tile.cuh"
#include "backend/cuda/kernels/operand_rows.cuh"

namespace iol::cuda {

enum class OperandNumber : std::uint8_t { kBf16, kF16, kInt8, kFp8 };

/// Begins to bring the norm's weights into shared memory, before the kernels in front are over.
__device__ __forceinline__ void bring_norm(const RowSource& source, int columns, float* norm) {
  if (source.norm == nullptr) return;
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(norm));
  for (int column = 4 * static_cast<int>(threadIdx.x); column < columns;
       column += 4 * 32 * kNumParts)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address + column * 4),
                 "l"(source.norm + column)
                 : "memory");
}

/// The token's row into `out`, its scale into `scale`; `norm`: of bring_norm(). kFours: runs of
/// kRunColumns columns, at least.
template <class Format, int kFours>
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
    asm volatile("cp.async.wait_all;" ::: "memory");
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

/// The row for sum_part() that the block makes.
template <class Format, int kFours>
struct MadeHere {
  const LinearArgs& args;
  const RowSource& source;
  std::byte* made;
  float* norm;
  float* scale;
  __device__ __forceinline__ void prepare() const { bring_norm(source, args.matrix.columns, norm); }
  __device__ __forceinline__ void make() const {
    make_row<Format, kFours>(args, source, norm, made, scale);
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

template <class Format, int kFours, int kTiles>
void launch_making(const LinearTask& task, StreamHandle stream) {
  constexpr bool kIsShort = kFours <= 2;  // leaves registers for more weights on their way
  constexpr int kDepth = kTiles == 2 ? 2 : kIsShort ? 8 : 4;
  constexpr int kMinBlocks = kTiles == 2 && kIsShort ? 3 : 2;
  auto* kernel = linear_making_kernel<Format, kFours, kTiles, kDepth, kMinBlocks>;
  const int bytes = kPartsBytes<kTiles, 1> + made_row_bytes<Format>(task.matrix) +
                    (task.x.source.norm != nullptr ? task.matrix.columns * 4 : 0);
  if (bytes > kSharedBytesUnasked)
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  launch_kernel(kernel, dim3(task.matrix.rows / (kTiles * kTileRows)), 32 * kNumParts, bytes,
                stream, linear_args<Format>(task), task.x.source);
}

template <class Format, int kTiles>
void launch_making(const LinearTask& task, StreamHandle stream) {
  task.matrix.padded_columns <= 2 * kRunColumns ? launch_making<Format, 2, kTiles>(task, stream)
                                                : launch_making<Format, 4, kTiles>(task, stream);
}

/// A row of RowForm::kUnmade, see can_make_row().
template <class Format>
void launch_making(const LinearTask& task, StreamHandle stream) {
  task.epilogue == Epilogue::kSwiGlu  // gate and up in one block
      ? launch_making<Format, 2>(task, stream)
      : launch_making<Format, 1>(task, stream);
}

}  // namespace iol::cuda
