// x W^T with int4 weights in groups along K and int8 activations with a scale for each group:
//   out[m][n] = sum over groups g of (dot[g] - zero[n][g] * x_sums[m][g]) * x_scales[m][g]
//                                    * scale[n][g]
// with exact i32 dots; groups in ascending order within a part of K.
#include "backend/cuda/kernels/linear_chain.cuh"
#include "backend/cuda/kernels/linear_groups.cuh"
#include "backend/cuda/kernels/linear_half.cuh"

namespace iol::cuda {
namespace {

constexpr std::uint32_t kLow = 0x0f0f0f0fU;

struct Int4Format : FloatFormat {
  struct Sum {
    float d[4];
    int dot[4];
  };
  struct Weights {
    uint4 v;
  };
  struct Row {
    uint2 v[2];
  };
  static constexpr int kTileBytes = 512;
  static constexpr int kRowBytes = 64;
  static constexpr int kRunBytes = 8;
  static constexpr int kOperandBytes = 1;
  static constexpr OperandNumber kOperand = OperandNumber::kInt8;
  static constexpr int kSteps = 2;
  static constexpr bool kHasGroups = true;
#if defined(IOL_HAS_WGMMA)
  /// Four codes in the low halves of bytes, less their zero point; `zeros`: 128 - zero in every
  /// byte, so that nothing is carried from one to the next.
  static __device__ __forceinline__ std::uint32_t centered(std::uint32_t codes,
                                                           std::uint32_t zeros) {
    return ((codes & kLow) + zeros) ^ 0x80808080U;
  }
  /// `low_row`, `high_row`: of a step, rows g and g + 8; `zero`: of each, as centered() takes it.
  static __device__ __forceinline__ void operand(std::uint32_t low_row, std::uint32_t high_row,
                                                 const std::uint32_t (&zero)[2],
                                                 std::uint32_t (&a)[4]) {
    a[0] = centered(low_row, zero[0]);
    a[1] = centered(high_row, zero[1]);
    a[2] = centered(low_row >> 4, zero[0]);
    a[3] = centered(high_row >> 4, zero[1]);
  }
  static __device__ __forceinline__ void operand(const Weights& w, int step,
                                                 const std::uint32_t (&zero)[2],
                                                 std::uint32_t (&a)[4]) {
    step == 0 ? operand(w.v.x, w.v.y, zero, a) : operand(w.v.z, w.v.w, zero, a);
  }
  /// Both rows' weights of step `step` of a stage.
  static __device__ __forceinline__ uint2 shared_step(const std::byte* p, int step) {
    return *reinterpret_cast<const uint2*>(p + step / 2 * kTileBytes + step % 2 * 8);
  }
  template <int kSize>
  static __device__ __forceinline__ void multiply_all(int (&d)[kSize], const std::uint32_t (&a)[4],
                                                      std::uint64_t b, bool accumulate) {
    wgmma_int8(d, a, b, accumulate);
  }
  /// A block of K, of the same group.
  static __device__ __forceinline__ void add_dots(const Weights& w, const Row& x, int (&dot)[4]) {
    mma_int8(dot, w.v.x & kLow, w.v.y & kLow, w.v.x >> 4 & kLow, w.v.y >> 4 & kLow, x.v[0].x,
             x.v[0].y);
    mma_int8(dot, w.v.z & kLow, w.v.w & kLow, w.v.z >> 4 & kLow, w.v.w >> 4 & kLow, x.v[1].x,
             x.v[1].y);
  }
#endif
  static __device__ __forceinline__ float bits(const Sum& sum, int i) { return sum.d[i]; }
  static __device__ __forceinline__ Weights load_weights(const std::byte* p) {
    return {load_streaming(p)};
  }
  static __device__ __forceinline__ Weights shared_weights(const std::byte* p) {
    return {load_cached(p)};
  }
  static __device__ __forceinline__ Row load_row(const std::byte* p) {
    return {{*reinterpret_cast<const uint2*>(p), *reinterpret_cast<const uint2*>(p + 32)}};
  }
  /// A sum and the dot of a group that is complete; `x_sum`: of its codes.
  static __device__ __forceinline__ float with_group(float sum, int dot, int zero, float scale,
                                                     float x_scale, int x_sum) {
    return __fmaf_rn(static_cast<float>(dot - zero * x_sum), __fmul_rn(x_scale, scale), sum);
  }
  /// The dots of a group that is complete, scaled; the next group starts from zero.
  static __device__ __forceinline__ void close_group(const LinearArgs& args, int tile, int token,
                                                     int group, Sum& sum) {
    const MatrixView& matrix = args.matrix;
    const int lane = threadIdx.x % 32;
    const std::int64_t at =
        (static_cast<std::int64_t>(tile) * matrix.num_groups + group) * kTileRows + lane / 4;
    const float scale[2] = {matrix.scales[at], matrix.scales[at + 8]};
    const int zero[2] = {matrix.zeros[at], matrix.zeros[at + 8]};
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int m = token + lane % 4 * 2 + c;
      const bool present = m < args.epilogue.num_tokens;
      const std::int64_t row_group =
          static_cast<std::int64_t>(present ? m : 0) * matrix.num_groups + group;
      const float x_scale = args.x_scales[row_group];
      const int x_sum = args.x_sums[row_group];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int i = half * 2 + c;
        sum.d[i] = with_group(sum.d[i], sum.dot[i], zero[half], scale[half], x_scale, x_sum);
        sum.dot[i] = 0;
      }
    }
  }
  static __device__ __forceinline__ void multiply(const LinearArgs& args, int tile, int token,
                                                  int block, const Weights& w, const Row& x,
                                                  Sum& sum) {
    const int steps = args.matrix.padded_group / 32;
    mma_int8(sum.dot, w.v.x & kLow, w.v.y & kLow, w.v.x >> 4 & kLow, w.v.y >> 4 & kLow, x.v[0].x,
             x.v[0].y);
    const int step = block * 2;
    if ((step + 1) % steps == 0) close_group(args, tile, token, step / steps, sum);
    mma_int8(sum.dot, w.v.z & kLow, w.v.w & kLow, w.v.z >> 4 & kLow, w.v.w >> 4 & kLow, x.v[1].x,
             x.v[1].y);
    if ((step + 2) % steps == 0 && (step + 1) / steps < args.matrix.num_groups)
      close_group(args, tile, token, (step + 1) / steps, sum);
  }
  static __device__ __forceinline__ float scaled(float sum, float, float) { return sum; }
};

}  // namespace

void linear_int4(const LinearTask& task, StreamHandle stream) {
  if (task.x.form == RowForm::kDealt) return multiply_dealt<Int4Format>(task, stream);
  if (task.num_tokens <= 8 && has_room_for_scales(task))
    return launch_groups<Int4Format>(task, stream);
  launch_portable<Int4Format>(task, stream);
}

void chain_int4(const ChainTask& task, StreamHandle stream) {
  launch_chain<Int4Format>(task, stream);
}

}  // namespace iol::cuda
