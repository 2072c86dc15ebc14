#pragma once
// A warpgroup of linear_apart.cuh, which does what RingEmptier of linear_wgmma.cuh does with the
// registers that two blocks on a multiprocessor leave: addresses are the same for all lanes, made
// once, and lie in uniform registers, and weights of a stage's second round are read before the
// first is multiplied.
#include "backend/cuda/kernels/wgmma.cuh"
#include "backend/cuda/kernels/wgmma_ring.cuh"

namespace iol::cuda {

#if defined(IOL_HAS_WGMMA)

template <class Format, int kTokens>
struct AheadEmptier {
  using Part = typename Format::Part;
  using Sums = Part[kTokens / 2];
  static constexpr int kRoundSteps = 4;  // multiplications that are begun together
  static constexpr int kRoundBlocks = kRoundSteps / Format::kSteps;
  static constexpr int kRounds = kStageBlocks / kRoundBlocks;  // of a stage
  static constexpr bool kWidens = Format::kSteps == 4;         // else weights are operands
  using Operands = std::uint32_t[kRoundSteps][4];              // the lane's weights
  using Weights = typename Format::Weights[kRoundBlocks];      // the same as they lie in memory
  static constexpr int kBoxRows = kTokens * kBoxBytes;
  const WgmmaArgs& args;
  // Addresses in shared memory, of the first stage.
  std::uint32_t full;
  std::uint32_t empty;
  std::uint32_t weights;  // the lane's
  std::uint32_t rows;     // 1 / 16 of it
  int stages;
  int stage_bytes;
  int stage = 0;  // from which weights are read next
  int parity = 0;
  int before = -1;  // a stage that may still be multiplied

  /// `own`: where the lane's weights begin in a stage.
  __device__ __forceinline__ AheadEmptier(const WgmmaArgs& all_args, const Ring& ring,
                                          std::uint32_t own)
      : args(all_args),
        full(first_lanes(shared_address(ring.full))),
        empty(first_lanes(shared_address(ring.empty))),
        stages(ring.stages),
        stage_bytes(all_args.stage_bytes) {
    const std::uint32_t memory = first_lanes(shared_address(ring.memory));
    weights = memory + own;
    rows = memory / 16;
  }

  __device__ __forceinline__ void wait_full() const { wait_phase_at(full + stage * 8, parity); }
  /// The stage's multiplications are begun.
  __device__ __forceinline__ void end_stage() {
    before = stage;
    if (++stage < stages) return;
    stage = 0;
    parity ^= 1;
  }
  __device__ __forceinline__ void release() {
    if (before >= 0) arrive_at(empty + before * 8);
    before = -1;
  }
  /// Reads the weights of round kRound of the stage.
  template <int kRound>
  __device__ __forceinline__ void fetch(Weights& w) const {
    const auto* own = static_cast<const std::byte*>(__cvta_shared_to_generic(
        weights + stage * stage_bytes + kRound * kRoundBlocks * Format::kTileBytes));
#pragma unroll
    for (int block = 0; block < kRoundBlocks; ++block)
      w[block] = Format::shared_weights(own + block * Format::kTileBytes);
  }
  __device__ __forceinline__ static void widen(const Weights& w, Operands& a) {
#pragma unroll
    for (int i = 0; i < kRoundSteps; ++i)
      Format::operand(w[i / Format::kSteps], i % Format::kSteps, a[i]);
  }
  /// Of rows of x of round `round` of the stage, as a descriptor has it.
  [[nodiscard]] __device__ __forceinline__ std::uint32_t rows_at(int round) const {
    return rows + static_cast<std::uint32_t>(stage * stage_bytes + round * kBoxRows) / 16;
  }
  /// Begins d += the first kSteps steps of a round; `fresh`: d = those.
  template <int kSteps>
  __device__ __forceinline__ void multiply(const Operands& a, std::uint32_t place, Sums& d,
                                           bool fresh) const {
    begin_wgmma();
#pragma unroll
    for (int i = 0; i < kSteps; ++i)
      Format::multiply_all(d, a[i], operand_descriptor(place + i * 32 / 16), i > 0 || !fresh);
    commit_wgmma();
  }
  /// Begins round kRound, whose weights are in `a`, and brings the next one's to `next`. `more`:
  /// there is a next one.
  template <int kRound>
  __device__ __forceinline__ void do_round(const Operands& a, Operands& next, Sums& d, bool fresh,
                                           bool more) {
    constexpr bool kEndsStage = kRound == kRounds - 1;
    constexpr int kNext = kEndsStage ? 0 : kRound + 1;
    const std::uint32_t place = rows_at(kRound);
    Weights w;
    if constexpr (kWidens && !kEndsStage) fetch<kNext>(w);
    multiply<kRoundSteps>(a, place, d, fresh);
    wait_wgmma<1>();  // for the round before, which had the operands `next`
    release();
    if constexpr (kEndsStage) {
      end_stage();
      if (!more) return;
      wait_full();
    }
    if constexpr (!kWidens || kEndsStage) fetch<kNext>(w);
    widen(w, next);
  }

  /// d = the sum over blocks [first, end) of K, one at least, for the group's rows.
  __device__ __forceinline__ void sum_blocks(int first, int end, Sums& d) {
    constexpr int kSecond = kRounds - 1;  // the round of a stage that the second operands are for
    const int rounds = (end - first) / kRoundBlocks;
    Operands a[2];
    Weights w;
    wait_full();
    fetch<0>(w);
    widen(w, a[0]);
    int round = 0;
#pragma unroll 1
    for (; round + 2 <= rounds; round += 2) {
      do_round<0>(a[0], a[1], d, round == 0, true);
      do_round<kSecond>(a[1], a[0], d, false, round + 2 < rounds);
    }
    if (round < rounds) {
      do_round<0>(a[0], a[1], d, round == 0, false);
      if (kRounds > 1) end_stage();
    }
    wait_wgmma<0>();
    release();
    if ((end - first) % kRoundBlocks > 0) {  // half a round
      wait_full();
      fetch<0>(w);
      widen(w, a[0]);
      multiply<kRoundSteps / 2>(a[0], rows_at(0), d, rounds == 0);
      end_stage();
      wait_wgmma<0>();
      release();
    }
  }

  /// d = the sum over part `part`; as it was when the part is empty.
  __device__ __forceinline__ void sum_part(int part, Sums& d) {
    const int first = args.part_begin[part];
    const int end = args.part_begin[part + 1];
    if (first < end) sum_blocks(first, end, d);
  }
};

#endif

}  // namespace iol::cuda
