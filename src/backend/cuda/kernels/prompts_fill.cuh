#pragma once
// The warps of attention_prompts.cu that fill the ring. One has the copy engine bring runs as they
// are, chunk after chunk, of each its keys, then its values. Codes become f16 on their way from
// their own ring to the other one, by two more warps.
#include <type_traits>

#include "backend/cuda/kernels/prompts_tiles.cuh"

namespace iol::cuda {

#if defined(IOL_HAS_WGMMA)

template <class Codec, int kDim>
class RunCopier {
 public:
  using Memory = PromptMemory<Codec, kDim>;
  __device__ __forceinline__ RunCopier(const PromptArgs& args, Memory& memory)
      : cache_(args.cache), memory_(memory) {}

  __device__ __forceinline__ void run() {
    begin_tile();
    wait_for_previous();
    while (tile_.kv_head >= 0) {
      take_chunk();
      copy(false);
      if constexpr (Codec::kCoded) copy_scales();
      look_ahead();
      copy(true);
    }
    if constexpr (Codec::kCoded) tell_end();
  }

 private:
  /// What it fills.
  using Ring = std::conditional_t<Codec::kCoded, typename Memory::CodeRing, typename Memory::Ring>;
  [[nodiscard]] __device__ __forceinline__ Ring& ring() const {
    if constexpr (Codec::kCoded)
      return memory_.codes;
    else
      return memory_.ring;
  }
  static constexpr int kRunBytes =
      kDim / 16 * 32 * static_cast<int>(sizeof(typename Codec::Stored));

  __device__ __forceinline__ void begin_tile() {
    tile_ = known_tile(memory_, tiles_);
    chunk_ = tile_.first_chunk;
    if (tile_.kv_head >= 0) find_block();
  }
  __device__ __forceinline__ void find_block() {
    block_ = tile_.table[position() / cache_.block_size];
  }
  /// Of the lane's run of the chunk, run `lane` (of 16); those behind the tile's last repeat it.
  [[nodiscard]] __device__ __forceinline__ int position() const {
    return min(chunk_ * kChunkPositions + 16 * (lane_ % kRunsOfChunk),
               tile_.last_position / 16 * 16);
  }
  __device__ __forceinline__ void take_chunk() {
    head_ = cache_.data + block_ * cache_.block_bytes + tile_.kv_head * cache_.head_bytes;
    offset_ = position() % cache_.block_size;
    last_ = tile_.last_position - chunk_ * kChunkPositions;
    num_runs_ = min(last_ / 16 + 1, kRunsOfChunk);
  }
  /// Where the chunk behind this one is.
  __device__ __forceinline__ void look_ahead() {
    if (chunk_++ < tile_.last_chunk) return find_block();
    arrive_of_lane(memory_.tile_done + tiles_.slot);
    tiles_.advance();
    begin_tile();
  }

  __device__ __forceinline__ void copy(bool of_values) {
    std::byte* slot = ring().slots[cursor_.slot];
    std::uint64_t* full = ring().full + cursor_.slot;
    const bool has_tail =
        !Codec::kCoded && of_values && last_ < kChunkPositions && last_ % 16 != 15;
    const int whole_runs = num_runs_ - (has_tail ? 1 : 0);
    wait_phase(ring().empty + cursor_.slot, cursor_.parity ^ 1);
    if (lane_ == 0) {
      if constexpr (Codec::kCoded) ring().num_runs[cursor_.slot] = num_runs_;
      if (has_tail) {
        expect(full, whole_runs * kRunBytes);
        arrive_expecting(&memory_.tail_here, kRunBytes);
      } else {
        arrive_expecting(full, whole_runs * kRunBytes);
      }
    }
    __syncwarp();
    if (lane_ < num_runs_) {
      const int runs = offset_ / 16 + (of_values ? cache_.block_size / 16 : 0);
      copy_bulk(slot + lane_ * kRunBytes, head_ + runs * kRunBytes, kRunBytes,
                lane_ < whole_runs ? full : &memory_.tail_here);
    }
    if (has_tail) {
      wait_phase(&memory_.tail_here, tail_parity_);
      tail_parity_ ^= 1;
      clear_tail(slot + whole_runs * kRunBytes, last_ % 16);
      show_to_wgmma();
      arrive_of_warp(full);
    }
    cursor_.advance();
  }
  /// Values of a run behind position `last`: whatever was there would be multiplied by zero, and
  /// zero times NaN is NaN. (Codes are always numbers.)
  __device__ __forceinline__ void clear_tail(std::byte* run, int last) const {
#pragma unroll 1
    for (int row = lane_; row < kDim; row += 32) {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int position = 2 * i;
        auto* words = reinterpret_cast<std::uint32_t*>(run + row * 32 + (i / 4 ^ row % 8 / 4) * 16);
        if (position >= last) words[i % 4] = position > last ? 0 : words[i % 4] & 0xffffU;
      }
    }
  }
  static __device__ __forceinline__ void expect(std::uint64_t* barrier, int bytes) {
    asm volatile(
        "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
        "r"(bytes)
        : "memory");
  }

  /// Of the chunk's keys and values.
  __device__ __forceinline__ void copy_scales() {
    constexpr int kBytes = 16 * static_cast<int>(sizeof(float));  // of a run
    wait_phase(&memory_.scales_empty, scales_parity_ ^ 1);
    scales_parity_ ^= 1;
    if (lane_ == 0) arrive_expecting(&memory_.scales_full, 2 * num_runs_ * kBytes);
    __syncwarp();
    if (lane_ >= num_runs_) return;
    const std::byte* from = head_ + 2 * cache_.block_size * kDim + offset_ * 4;
    copy_bulk(memory_.scales[0] + 16 * lane_, from, kBytes, &memory_.scales_full);
    copy_bulk(memory_.scales[1] + 16 * lane_, from + cache_.block_size * 4, kBytes,
              &memory_.scales_full);
  }
  __device__ __forceinline__ void tell_end() {
    wait_phase(ring().empty + cursor_.slot, cursor_.parity ^ 1);
    if (lane_ == 0) ring().num_runs[cursor_.slot] = 0;
    arrive_of_warp(ring().full + cursor_.slot);
  }

  const CacheView& cache_;
  Memory& memory_;
  typename Ring::Cursor cursor_;
  TileCursor tiles_;
  int tail_parity_ = 0;
  int scales_parity_ = 0;
  int lane_ = static_cast<int>(threadIdx.x) % 32;
  // What comes next: a tile, a chunk of it, and the cache's block of the lane's run.
  PromptTile tile_;
  int chunk_;
  int block_;
  // The chunk that is here: its last position that the tile sees, counted from its first; where
  // the block of the lane's run has the head, and the run's place in the block.
  int last_;
  int num_runs_;
  const std::byte* head_;
  int offset_;
};

/// Makes f16 of codes; a warp takes every second run.
template <class Codec, int kDim>
class CodeWidener {
 public:
  using Memory = PromptMemory<Codec, kDim>;
  __device__ __forceinline__ CodeWidener(Memory& memory, int warp) : memory_(memory), warp_(warp) {}

  __device__ __forceinline__ void run() {
    for (bool of_values = false;; of_values = !of_values) {
      wait_phase(memory_.codes.full + cursor_.slot, cursor_.parity);
      const int num_runs = memory_.codes.num_runs[cursor_.slot];
      if (num_runs == 0) break;
      wait_phase(memory_.ring.empty + cursor_.slot, cursor_.parity ^ 1);
#pragma unroll 1
      for (int run = warp_; run < num_runs; run += kWidenWarps) {
        if (of_values) {
          widen<true>(run);
        } else {
          widen<false>(run);
        }
      }
      arrive_of_lane(memory_.codes.empty + cursor_.slot);
      show_to_wgmma();
      arrive_of_warp(memory_.ring.full + cursor_.slot);
      cursor_.advance();
    }
  }

 private:
  template <bool kOfValues>
  __device__ __forceinline__ void widen(int run) const {
    constexpr int kStride = kOfValues ? 512 : 256;  // from unit to unit
    constexpr int kSecond = kOfValues ? 256 : Memory::kKeyStride;
    constexpr int kAhead = 4;
    const int row = static_cast<int>(threadIdx.x) % 32 / 4;
    const int quad = static_cast<int>(threadIdx.x) % 4;
    const std::byte* from = memory_.codes.slots[cursor_.slot] + run * Memory::CodeRing::kRunBytes;
    std::byte* to = memory_.ring.slots[cursor_.slot] + run * Memory::Ring::kRunBytes + row * 32 +
                    (quad / 2 ^ row / 4) * 16 + quad % 2 * 8;
#pragma unroll
    for (int first = 0; first < Memory::kUnits; first += kAhead) {
      typename Codec::Stored codes[kAhead];
#pragma unroll
      for (int u = 0; u < kAhead; ++u) codes[u] = load_codes<Codec>(from, first + u);
#pragma unroll
      for (int u = 0; u < kAhead; ++u) {
        const uint4 numbers = Codec::operand(codes[u]);
        std::byte* unit = to + (first + u) * kStride;
        *reinterpret_cast<uint2*>(unit) = make_uint2(numbers.x, numbers.y);
        *reinterpret_cast<uint2*>(unit + kSecond) = make_uint2(numbers.z, numbers.w);
      }
    }
  }

  Memory& memory_;
  int warp_;
  typename Memory::Ring::Cursor cursor_;  // of both rings
};

#endif

}  // namespace iol::cuda
