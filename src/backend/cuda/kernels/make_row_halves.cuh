#pragma once
// The product of one token whose left operand is numbers of 16 bits, see make_row.cuh: all warps of
// a block make the row together. (With a row made by the warps that multiply it, as
// make_row_codes.cuh does with codes, a step in bf16 takes 5 % longer: docs/kernels.md.)
#include "backend/cuda/kernels/linear_ring.cuh"
#include "backend/cuda/kernels/make_row.cuh"

namespace iol::cuda {

inline constexpr int kRunThreads = 32 * kNumParts;
inline constexpr int kRunStrips = 2;  // of four columns, to a thread
inline constexpr int kRunColumns = 4 * kRunThreads * kRunStrips;

/// Begins to bring the norm's weights into shared memory, before the kernels in front are over.
__device__ __forceinline__ void bring_norm(const RowSource& source, int columns, float* norm) {
  if (source.norm == nullptr) return;
  for (int column = 4 * static_cast<int>(threadIdx.x); column < columns; column += 4 * kRunThreads)
    copy_async(norm + column, source.norm + column);
}

/// The token's row into `out`; `norm`: of bring_norm(). Returns what sums over K are multiplied by.
/// kRuns: of kRunColumns columns, at least.
/// kGroups: of copies begun since, which need not be here.
template <class Format, int kRuns, int kGroups>
__device__ __forceinline__ float make_halves(const LinearArgs& args, const RowSource& source,
                                             const float* norm, std::byte* out) {
  constexpr bool kDefersNorm = Format::kHasTokenScales;
  __shared__ SquareSum squares[kNumParts];
  float factor = 1;
  const int size = args.matrix.columns;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const auto column = [&](int strip, int run) {
    return 4 * ((warp * kRunStrips + strip) * 32 + lane) + run * kRunColumns;
  };
  float4 row[kRunStrips][kRuns];
#pragma unroll
  for (int strip = 0; strip < kRunStrips; ++strip) {
#pragma unroll
    for (int j = 0; j < kRuns; ++j)
      row[strip][j] = load_four(source.x, source.element, 0, column(strip, j), size);
  }
  if (source.norm != nullptr) {
    SquareSum own = 0;
#pragma unroll
    for (int strip = 0; strip < kRunStrips; ++strip) {
#pragma unroll
      for (int j = 0; j < kRuns; ++j) own += whole_squares(four_squares(row[strip][j]));
    }
    own = warp_sum(own);
    if (lane == 0) squares[warp] = own;
    if constexpr (kGroups == 0) {
      wait_for_all_copies();
    } else {
      wait_for_copies<kGroups>();
    }
    __syncthreads();
    SquareSum all = 0;
#pragma unroll
    for (int i = 0; i < kNumParts; ++i) all += squares[i];
    factor = norm_factor(all, size, static_cast<float>(source.eps));
#pragma unroll
    for (int strip = 0; strip < kRunStrips; ++strip) {
#pragma unroll
      for (int j = 0; j < kRuns; ++j) {
        const float4 weight = load_four(norm, Element::kF32, 0, column(strip, j), size);
        row[strip][j] = product(row[strip][j], weight);
        if constexpr (!kDefersNorm) row[strip][j] = product(row[strip][j], factor);
      }
    }
  }
#pragma unroll
  for (int strip = 0; strip < kRunStrips; ++strip) {
#pragma unroll
    for (int j = 0; j < kRuns; ++j) {
      const int at = column(strip, j);
      if (at >= args.matrix.padded_columns) continue;
      store_halves<Format>(out, at, row[strip][j]);
    }
  }
  __syncthreads();
  return kDefersNorm ? factor : 1.0F;
}

/// The row that the block makes, for sum_part() and sum_ring().
template <class Format, int kRuns, int kTiles>
struct MadeHalves {
  static constexpr bool kInShared = true;
  const LinearArgs& args;
  const RowSource& source;
  std::byte* made;
  float* norm;
  FewFinish<Format, kTiles>& finish;
  __device__ __forceinline__ void prepare() const { bring_norm(source, args.matrix.columns, norm); }
  __device__ __forceinline__ void make() const { make_beside<0>(); }
  template <int kGroups>
  __device__ __forceinline__ void make_beside() const {
    finish.load_with(make_halves<Format, kRuns, kGroups>(args, source, norm, made));
  }
  [[nodiscard]] __device__ __forceinline__ const std::byte* row(int) const { return made; }
  template <class Other>
  [[nodiscard]] __device__ __forceinline__ typename Other::Row load(const std::byte* p) const {
    return Other::load_row(p);
  }
};

/// `memory`: the row, the norm.
template <class Format, int kRuns, int kTiles>
__device__ __forceinline__ MadeHalves<Format, kRuns, kTiles> made_halves(
    const LinearArgs& args, const RowSource& source, std::byte* memory,
    FewFinish<Format, kTiles>& finish) {
  return {args, source, memory,
          reinterpret_cast<float*>(memory + made_row_bytes<Format>(args.matrix)), finish};
}

template <class Format, int kRuns, int kTiles, int kDepth, int kMinBlocks>
__global__ void __launch_bounds__(32 * kNumParts, kMinBlocks)
    halves_making_kernel(const __grid_constant__ LinearArgs args,
                         const __grid_constant__ RowSource source) {
  extern __shared__ __align__(16) std::byte block_memory[];  // sums of the parts, the row, the norm
  auto finish = block_finish<Format, kTiles, 1>(args);
  std::byte* memory = block_memory + kPartsBytes<kTiles, 1>;
  multiply_block<Format, kTiles, 1, kDepth, 2>(
      args, made_halves<Format, kRuns, kTiles>(args, source, memory, finish), finish,
      reinterpret_cast<float*>(block_memory));
}

template <class Format, int kRuns, int kTiles>
void launch_making_halves(const LinearTask& task, StreamHandle stream) {
  constexpr bool kIsShort = kRuns <= 2;  // leaves registers for more weights on their way
  constexpr int kDepth = kTiles == 2 ? 2 : kIsShort ? 8 : 4;
  constexpr int kMinBlocks = kTiles == 2 && kIsShort ? 3 : 2;
  auto* kernel = halves_making_kernel<Format, kRuns, kTiles, kDepth, kMinBlocks>;
  const int bytes = kPartsBytes<kTiles, 1> + making_bytes<Format>(task);
  launch_kernel(kernel, dim3(task.matrix.rows / (kTiles * kTileRows)), 32 * kNumParts, bytes,
                stream, linear_args<Format>(task), task.x.source);
}

template <class Format, int kRuns, int kTiles, int kDepth>
__global__ void __launch_bounds__(32 * kNumParts)
    ring_halves_kernel(const __grid_constant__ LinearArgs args,
                       const __grid_constant__ RowSource source, int ring_bytes) {
  extern __shared__ uint4 shared_memory[];  // the rings, or sums of the parts; the row, the norm
  auto* rings = reinterpret_cast<std::byte*>(shared_memory);
  auto finish = block_finish<Format, kTiles, 1>(args);
  std::byte* memory = rings + kNumParts * ring_bytes;
  multiply_ring_block<Format, kTiles, kDepth>(
      args, made_halves<Format, kRuns, kTiles>(args, source, memory, finish), finish, rings,
      ring_bytes);
}

/// As launch_ring().
template <class Format, int kRuns, int kTiles, int kDepth, int... kOthers>
void launch_ring_halves(const LinearTask& task, StreamHandle stream) {
  using Rows = MadeHalves<Format, kRuns, kTiles>;
  const int ring_bytes = ring_bytes_of<Format, Rows, kTiles, kDepth>(task.matrix);
  const int bytes = kNumParts * ring_bytes + making_bytes<Format>(task);
  const dim3 grid(task.matrix.rows / (kTiles * kTileRows));
  if constexpr (sizeof...(kOthers) > 0) {
    if (!leaves_room(static_cast<int>(grid.x), bytes))
      return launch_ring_halves<Format, kRuns, kTiles, kOthers...>(task, stream);
  }
  auto* kernel = ring_halves_kernel<Format, kRuns, kTiles, kDepth>;
  launch_kernel(kernel, grid, 32 * kNumParts, bytes, stream, linear_args<Format>(task),
                task.x.source, ring_bytes);
}

/// Gate and up in one block.
template <class Format, int kRuns>
void launch_making_halves(const LinearTask& task, StreamHandle stream) {
  const bool is_pair = task.epilogue == Epilogue::kSwiGlu;
  if constexpr (Format::kTakesRing) {
    if (takes_ring<Format>(task.matrix)) {
      return is_pair ? launch_ring_halves<Format, kRuns, 2, 4, 3, 2>(task, stream)
                     : launch_ring_halves<Format, kRuns, 1, 8, 6, 4, 2>(task, stream);
    }
  }
  is_pair ? launch_making_halves<Format, kRuns, 2>(task, stream)
          : launch_making_halves<Format, kRuns, 1>(task, stream);
}

/// A row of RowForm::kUnmade, see can_make_row().
template <class Format>
void launch_making_halves(const LinearTask& task, StreamHandle stream) {
  task.matrix.padded_columns <= 2 * kRunColumns ? launch_making_halves<Format, 2>(task, stream)
                                                : launch_making_halves<Format, 4>(task, stream);
}

}  // namespace iol::cuda
