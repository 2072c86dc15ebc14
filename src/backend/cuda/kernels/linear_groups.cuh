#pragma once
// x W^T for up to eight tokens and weights in groups along K (linear_int4.cu): linear_tile.cuh with
// all scales in shared memory. Those of the block's tiles come there with the first weights, before
// the kernels in front are over, those of x behind that. Rings are short, and rows are made by a
// kernel of their own even for one token: a block that takes few registers leaves room for the next
// kernel's, whose first weights then come while this one computes.
#include "backend/cuda/kernels/async_copy.cuh"
#include "backend/cuda/kernels/linear_tile.cuh"

namespace iol::cuda {

/// Bytes in shared memory, behind the sums of the parts.
struct GroupPlaces {
  int zeros;     // of the block's tiles: [tile][groups][16], behind scales like them
  int x_scales;  // [token][groups]
  int x_sums;    // likewise
  int end;
  IOL_HOST_DEVICE constexpr GroupPlaces(const MatrixView& matrix, int tiles, int tokens) {
    const int in_tiles = tiles * matrix.num_groups * kTileRows;
    const int in_rows = tokens * matrix.num_groups * 4;
    zeros = in_tiles * 4;
    x_scales = zeros + in_tiles;
    x_sums = x_scales + in_rows;
    end = x_sums + in_rows;
  }
};

/// Begins to bring `bytes` bytes, a multiple of 16, into shared memory.
__device__ __forceinline__ void bring(std::byte* shared, const void* from, int bytes) {
  for (int at = 16 * static_cast<int>(threadIdx.x); at < bytes; at += 16 * 32 * kNumParts)
    copy_async(shared + at, static_cast<const std::byte*>(from) + at);
}

/// Rows for sum_part() that a kernel before has made; `memory`: of the scales.
template <class Format, int kTiles>
struct GroupedRows {
  const LinearArgs& args;
  const GroupPlaces& places;
  std::byte* memory;
  int first_tile;
  FewFinish<Format, kTiles>& finish;

  __device__ __forceinline__ void prepare() const {
    const MatrixView& matrix = args.matrix;
    const int first = first_tile * matrix.num_groups * kTileRows;
    const int count = kTiles * matrix.num_groups * kTileRows;
    bring(memory, matrix.scales + first, count * 4);
    bring(memory + places.zeros, matrix.zeros + first, count);
  }
  __device__ __forceinline__ void make() const {
    auto* scales = reinterpret_cast<float*>(memory + places.x_scales);
    auto* sums = reinterpret_cast<std::int32_t*>(memory + places.x_sums);
    const int count = args.epilogue.num_tokens * args.matrix.num_groups;
    for (int i = threadIdx.x; i < count; i += 32 * kNumParts) {
      scales[i] = args.x_scales[i];
      sums[i] = args.x_sums[i];
    }
    finish.load();
    wait_for_all_copies();
    __syncthreads();
  }
  [[nodiscard]] __device__ __forceinline__ const std::byte* row(int token) const {
    return args.x + token * args.x_row_bytes;
  }
};

template <class Format, int kTiles, int kAhead, int kMinBlocks>
__global__ void __launch_bounds__(32 * kNumParts, kMinBlocks)
    linear_groups_kernel(const __grid_constant__ LinearArgs args) {
  constexpr int kDepth = 4;
  extern __shared__ __align__(16) std::byte group_memory[];
  std::byte* memory = group_memory + kPartsBytes<kTiles, 1>;
  const GroupPlaces places(args.matrix, kTiles, args.epilogue.num_tokens);
  const int first_tile = blockIdx.x * kTiles;
  LinearArgs own = args;  // with scales in shared memory, numbered as in the matrix
  const int before = first_tile * args.matrix.num_groups * kTileRows;
  own.matrix.scales = reinterpret_cast<const float*>(memory) - before;
  own.matrix.zeros = reinterpret_cast<const std::uint8_t*>(memory + places.zeros) - before;
  own.x_scales = reinterpret_cast<const float*>(memory + places.x_scales);
  own.x_sums = reinterpret_cast<const std::int32_t*>(memory + places.x_sums);
  auto finish = block_finish<Format, kTiles, 1>(args);
  const GroupedRows<Format, kTiles> rows = {args, places, memory, first_tile, finish};
  multiply_block<Format, kTiles, 1, kDepth, kAhead>(own, rows, finish,
                                                    reinterpret_cast<float*>(group_memory));
}

template <class Format, int kTiles, int kAhead, int kMinBlocks>
void launch_groups(const LinearTask& task, StreamHandle stream) {
  auto* kernel = linear_groups_kernel<Format, kTiles, kAhead, kMinBlocks>;
  const int bytes = kPartsBytes<kTiles, 1> + GroupPlaces(task.matrix, kTiles, task.num_tokens).end;
  launch_kernel(kernel, dim3(task.matrix.rows / (kTiles * kTileRows)), 32 * kNumParts, bytes,
                stream, linear_args<Format>(task));
}

/// True when the scales find room in shared memory, on every card (8.6 has 99 KB to a block).
inline bool has_room_for_scales(const LinearTask& task) {
  constexpr int kTiles = 2;
  return kPartsBytes<kTiles, 1> + GroupPlaces(task.matrix, kTiles, task.num_tokens).end <=
         96 * 1024;
}

template <class Format>
void launch_groups(const LinearTask& task, StreamHandle stream) {
  task.epilogue == Epilogue::kSwiGlu  // gate and up in one block
      ? launch_groups<Format, 2, 2, 3>(task, stream)
      : launch_groups<Format, 1, 4, 2>(task, stream);
}

}  // namespace iol::cuda
