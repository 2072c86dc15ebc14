#pragma once
// Weights in groups along K, for linear_wgmma.cuh: int4 weights with a scale and a zero point for
// each row and group, multiplied by int8 rows of x with a scale for each token and group,
//   d = sum over groups of (dot of a group) * (x's scale * the weights' scale)
// where dot is the exact i32 sum of (code - zero) x. Scales and zero points come through the ring
// of stages, behind the weights and rows of x they belong to.
#include "backend/cuda/kernels/wgmma.cuh"
#include "backend/cuda/kernels/wgmma_ring.cuh"

namespace iol::cuda {

#if defined(IOL_HAS_WGMMA)

/// One of the warpgroups that multiply, as RingEmptier in linear_wgmma.cuh. Where groups are whole
/// stages, half a stage is multiplied while the next half's weights are unpacked, and the first
/// half of the next stage is unpacked before a group is closed.
template <class Format, int kTokens>
struct GroupEmptier {
  using Sums = float[kTokens / 2];
  using Dots = int[kTokens / 2];
  static constexpr int kSteps = Format::kSteps;
  static constexpr int kStageSteps = kStageBlocks * kSteps;
  using Operands = std::uint32_t[kSteps][4];
  const GroupedWgmmaArgs& args;
  Ring ring;
  std::uint32_t weights;  // where the lane's weights begin in a stage
  std::uint32_t rows;     // the address of the first stage, as a descriptor has it
  int coming = 0;         // whole stages that are left to the block of threads
  int tile = min(static_cast<int>(threadIdx.x) / 32, args.tiles - 1);
  bool is_unpacked = false;  // the first half of the stage that comes
  Operands a[kStageBlocks] = {};

  [[nodiscard]] __device__ __forceinline__ const std::byte* stage() const {
    return ring.memory + ring.stage * args.stage_bytes;
  }
  /// 128 less the zero points of the lane's rows g and g + 8 in group `group` of the stage, in
  /// every byte.
  __device__ __forceinline__ void load_zeros(int group, std::uint32_t (&zero)[2]) const {
    const std::byte* own = stage() + args.zeros_at +
                           (tile * args.stage_groups + group) * kTileRows + threadIdx.x % 32 / 4;
    zero[0] = 0x80808080U - std::to_integer<std::uint32_t>(own[0]) * 0x01010101U;
    zero[1] = 0x80808080U - std::to_integer<std::uint32_t>(own[8]) * 0x01010101U;
  }
  /// d += dots, scaled with the scales of group `group` of stage `at`.
  __device__ __forceinline__ void close_group(const std::byte* at, int group, const Dots& dots,
                                              Sums& d) const {
    const auto* scales = reinterpret_cast<const float*>(at + args.scales_at) +
                         (tile * args.stage_groups + group) * kTileRows + threadIdx.x % 32 / 4;
    const auto* x_scales = reinterpret_cast<const float2*>(at + args.x_scales_at) +
                           group * kTokens / 2 + threadIdx.x % 4;
    const float scale[2] = {scales[0], scales[8]};
#pragma unroll
    for (int i = 0; i < kTokens / 2; i += 4) {
      const float2 x_scale = x_scales[i];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float* sum = d + i + half * 2;
        const int* dot = dots + i + half * 2;
        sum[0] = __fmaf_rn(static_cast<float>(dot[0]), __fmul_rn(x_scale.x, scale[half]), sum[0]);
        sum[1] = __fmaf_rn(static_cast<float>(dot[1]), __fmul_rn(x_scale.y, scale[half]), sum[1]);
      }
    }
  }
  __device__ __forceinline__ void release(int which) const { arrive(ring.empty + which); }

  /// The lane's weights of block `block` of the stage, all of one group.
  __device__ __forceinline__ void unpack(int block, Operands& out) const {
    std::uint32_t zero[2];
    load_zeros(0, zero);
    const auto w = Format::shared_weights(stage() + weights + block * Format::kTileBytes);
#pragma unroll
    for (int i = 0; i < kSteps; ++i) Format::operand(w, i, zero, out[i]);
  }
  /// Begins dots += block `block` of the stage; `fresh`: dots = that.
  __device__ __forceinline__ void begin(int block, const Operands& operands, Dots& dots,
                                        bool fresh) const {
    const std::uint32_t descriptor = rows + ring.stage * args.stage_bytes / 16;
    begin_wgmma();
#pragma unroll
    for (int i = 0; i < kSteps; ++i)
      Format::multiply_all(dots, operands[i],
                           operand_descriptor(descriptor + (block * kSteps + i) * 32 / 16),
                           i > 0 || !fresh);
    commit_wgmma();
  }
  /// Groups that are whole stages.
  __device__ __forceinline__ void sum_whole_stages(int first, int end, Sums& d) {
    Dots dots = {};
    int left = args.group_steps;
    if (!is_unpacked && first < end) {
      ring.wait_full();
      unpack(0, a[0]);
      is_unpacked = true;
    }
#pragma unroll 1
    for (int block = first; block < end; block += kStageBlocks) {
      begin(0, a[0], dots, left == args.group_steps);
      unpack(1, a[1]);
      begin(1, a[1], dots, false);
      const std::byte* at = stage();
      const int which = ring.stage;
      ring.advance();
      if (--coming > 0) {
        ring.wait_full();
        wait_wgmma<1>();
        unpack(0, a[0]);
      }
      wait_wgmma<0>();
      left -= kStageSteps;
      if (left == 0) {
        close_group(at, 0, dots, d);
        left = args.group_steps;
      }
      release(which);
    }
  }
  /// Groups that end anywhere, step by step.
  __device__ __forceinline__ void sum_steps(int first, int end, Sums& d) {
    Dots dots = {};
    int left = args.group_steps;
#pragma unroll 1
    for (int block = first; block < end; block += kStageBlocks) {
      ring.wait_full();
      const int steps = min(end - block, kStageBlocks) * Format::kSteps;
      const std::uint32_t descriptor = rows + ring.stage * args.stage_bytes / 16;
      int group = 0;
#pragma unroll 1
      for (int step = 0; step < steps; ++step) {
        std::uint32_t a[4];
        std::uint32_t zero[2];
        load_zeros(group, zero);
        const auto w = Format::shared_step(stage() + weights, step);
        Format::operand(w.x, w.y, zero, a);
        begin_wgmma();
        Format::multiply_all(dots, a, operand_descriptor(descriptor + step * 32 / 16),
                             left != args.group_steps);
        commit_wgmma();
        wait_wgmma<0>();
        if (--left == 0) {
          close_group(stage(), group, dots, d);
          left = args.group_steps;
          ++group;
        }
      }
      release(ring.stage);
      ring.advance();
    }
  }

  /// d = the sum over part `part`; false when it is empty.
  __device__ __forceinline__ bool sum_part(int part, Sums& d) {
    const int first = args.part_begin[part];
    const int end = args.part_begin[part + 1];
#pragma unroll
    for (float& sum : d) sum = 0;
    if (args.group_steps % kStageSteps == 0) {
      sum_whole_stages(first, end, d);
    } else {
      sum_steps(first, end, d);
    }
    return first < end;
  }
  /// total += the sum over part `part` of K.
  __device__ __forceinline__ void add_part(int part, Sums& d, Sums& total) {
    if (!sum_part(part, d)) return;
#pragma unroll
    for (int i = 0; i < kTokens / 2; ++i) total[i] += d[i];
  }
};

#endif

}  // namespace iol::cuda
