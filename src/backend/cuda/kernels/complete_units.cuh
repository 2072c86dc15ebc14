#pragma once
// A warpgroup of linear_wgmma.cuh that finishes units while the others multiply the next, where
// has_finisher() says so.
#include "backend/cuda/kernels/finish_tokens.cuh"
#include "backend/cuda/kernels/wgmma_ring.cuh"

namespace iol::cuda {

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

/// How sums of a group come to the warpgroup that finishes them while the group goes on.
struct Handover {
  float* sums;           // [group][kGroupSums]
  std::uint64_t* there;  // [group]
  std::uint64_t* free;   // [group]
};

/// The warpgroup that finishes all units of a block but the last, which its groups finish
/// themselves.
template <class Format, int kTokens, int kGroupSums>
struct Completer {
  static constexpr int kOldTokens = kTokens / 2;  // whose old numbers are in registers at a time
  static constexpr int kCount = kOldTokens / Finisher<Format>::kTokenStride;
  const WgmmaArgs& args;
  Handover handover;

  __device__ __forceinline__ void finish_unit(const Piece& piece, int group, int parity) const {
    const int first_token = piece.token_unit * kTokens;
    const Finisher<Format> finisher = {
        args.linear, group_rows(args.linear, piece.row_unit * args.tiles, args.tiles, group),
        first_token};
    const UnitSums<Format> sums = {{args.linear, first_token}, handover.sums + group * kGroupSums};
    float4 old[kCount] = {};
    finisher.load_old(0, kOldTokens, old);
    wait_phase(handover.there + group, parity);
    if (finisher.is_plain()) {
      finisher.finish_plain(0, kOldTokens, old, sums);
      finisher.load_old(kOldTokens, kTokens, old);
      finisher.finish_plain(kOldTokens, kTokens, old, sums);
    } else {
      finisher.finish_other(0, kTokens, sums);
    }
    arrive(handover.free + group);
  }
  __device__ __forceinline__ void finish_units(int groups) const {
    const int num_pieces = Share::of<1>(args).num_pieces;
    int parity = 0;
#pragma unroll 1
    for (int i = 0; i + 1 < num_pieces; ++i) {
      const Piece piece = Share::of<1>(args).template piece<1>(args, i);
      if (piece.end_part < kNumParts) continue;
#pragma unroll 1
      for (int group = 0; group < groups; ++group) finish_unit(piece, group, parity);
      parity ^= 1;
    }
  }
};

#endif

}  // namespace iol::cuda
