#pragma once
// A warpgroup of attention_prompts.cu that multiplies: 64 rows of each tile. Scores of a chunk's
// 256 positions stay in registers until they are weights, operand A of the product with values. Two
// such groups share keys and values, each at its own pace: one's products run while the other makes
// weights.
#include "backend/cuda/kernels/async_copy.cuh"
#include "backend/cuda/kernels/attention_values.cuh"
#include "backend/cuda/kernels/prompts_ring.cuh"
#include "backend/cuda/kernels/prompts_weights.cuh"

namespace iol::cuda {

#if defined(IOL_HAS_WGMMA)

/// Weighted values of a lane's rows, columns 8 j + 2 q + c of D in sums[4 j + 2 half + c].
template <int kDim>
struct LaneResult {
  using Sums = float[kDim / 2];
  Sums sums;
  float most[2];
  float total[2];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (float& sum : sums) sum = 0;
    most[0] = most[1] = -CUDART_INF_F;
    total[0] = total[1] = 0;
  }
  __device__ __forceinline__ void find_factors(const LaneStats& stats, Merge (&factors)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      factors[half] = merge_factors(most[half], total[half], stats.most[half], stats.total[half]);
      factors[half].new_factor = __fmul_rn(factors[half].new_factor, stats.weight_scale[half]);
    }
  }
  __device__ __forceinline__ void merge(const Sums& part, const Merge (&factors)[2]) {
#pragma unroll
    for (int i = 0; i < kDim / 2; ++i) sums[i] = merged(factors[i / 2 % 2], sums[i], part[i]);
  }
};

template <class Codec, int kDim>
class PromptRows {
 public:
  using Memory = PromptMemory<Codec, kDim>;
  __device__ __forceinline__ PromptRows(const PromptArgs& the_task, Memory& the_memory, int group)
      : task_(the_task), memory_(the_memory), group_(group) {}

  __device__ __forceinline__ void run() {
    wait_for_previous();
    if (group_ == 1) {  // the first are the other's
      pass_turn(kKeys);
      pass_turn(kValues);
    }
    copy_queries(known_tile(memory_, tiles_));
    while (known_tile(memory_, tiles_).kv_head >= 0) {
      const PromptTile& tile = memory_.tiles[tiles_.slot];
      find_rows(tile);
      result_.clear();
      wait_for_all_copies();
      show_to_wgmma();
      sync();
      const int last_chunk = first_lanes(tile.last_chunk);
#pragma unroll 1
      for (int chunk = first_lanes(tile.first_chunk); chunk <= last_chunk; ++chunk) {
        const bool is_last = chunk == last_chunk;
        const int first = chunk * kChunkPositions;
        if (first > rows_.last_position || first + kChunkPositions <= rows_.first_seen) {
          pass_chunk(is_last);
        } else if (rows_.last_position - first >= kChunkPositions / 2) {
          add_chunk<4>(chunk, is_last);
        } else {
          add_chunk<2>(chunk, is_last);
        }
      }
      store(tile);
      arrive_of_lane(memory_.tile_done + tiles_.slot);
      tiles_.advance();
    }
  }

 private:
  static constexpr int kUnits = Memory::kUnits;
  using Sums = typename LaneResult<kDim>::Sums;

  __device__ __forceinline__ void sync() const {
    asm volatile("bar.sync %0, 128;" ::"r"(group_ + 1) : "memory");
  }
  /// The groups multiply in turns, with keys and with values: while one does, the other makes
  /// weights. Else both would do the same at a time.
  enum Turn { kKeys, kValues };
  __device__ __forceinline__ void wait_for_turn(Turn turn) const {
    asm volatile("bar.sync %0, 256;" ::"r"(turn_barrier(turn, group_)) : "memory");
  }
  __device__ __forceinline__ void pass_turn(Turn turn) const {
    asm volatile("bar.arrive %0, 256;" ::"r"(turn_barrier(turn, 1 - group_)) : "memory");
  }
  /// Behind the groups' own barriers.
  static __device__ __forceinline__ int turn_barrier(Turn turn, int group) {
    return 1 + kPromptGroups * (1 + turn) + group;
  }
  /// Until the slot that comes is full.
  __device__ __forceinline__ void wait_full() const {
    wait_phase(memory_.ring.full + cursor_.slot, cursor_.parity);
  }
  __device__ __forceinline__ void end_slot() {
    arrive_of_warp(memory_.ring.empty + cursor_.slot);
    cursor_.advance();
  }
  __device__ __forceinline__ void end_scales() {
    arrive_of_lane(&memory_.scales_empty);
    scales_parity_ ^= 1;
  }
  /// When the queries have been read: those of the next tile.
  __device__ __forceinline__ void begin_next() const {
    TileCursor next = tiles_;
    next.advance();
    const PromptTile& tile = known_tile(memory_, next);
    sync();
    if (tile.kv_head >= 0) copy_queries(tile);
  }

  /// The first kQuarters quarters of a chunk are all that is seen of it.
  template <int kQuarters>
  __device__ __forceinline__ void add_chunk(int chunk, bool is_last) {
    using Chunk = ChunkWeights<Codec, kQuarters>;
    typename Chunk::Weights weights;
    LaneStats stats;
    typename Chunk::Scores scores;
    typename Chunk::Totals totals;
    wait_full();
    wait_for_turn(kKeys);
    multiply_keys(scores);
    pass_turn(kKeys);
    end_slot();
    soften<Chunk>(memory_.tiles[tiles_.slot], chunk, scores, weights, stats, totals);
    if (is_last) begin_next();
    Sums part;
    wait_full();
    wait_for_turn(kValues);
    begin_values(weights, rows_.last_position / 16 - chunk * kRunsOfChunk, part);
    // While they are multiplied:
    if constexpr (!Codec::kCoded) Chunk::add_totals(totals, stats);
    Merge factors[2];
    result_.find_factors(stats, factors);
    wait_wgmma<0>();
    pass_turn(kValues);
    end_slot();
    result_.merge(part, factors);
  }
  /// A chunk of which no row sees anything.
  __device__ __forceinline__ void pass_chunk(bool is_last) {
    pass_slot(kKeys);
    if (is_last) begin_next();
    if constexpr (Codec::kCoded) {
      wait_phase(&memory_.scales_full, scales_parity_);
      end_scales();
    }
    pass_slot(kValues);
  }
  __device__ __forceinline__ void pass_slot(Turn turn) {
    wait_full();
    wait_for_turn(turn);
    pass_turn(turn);
    end_slot();
  }

  /// Token of the slice and query head of a row of the tile.
  struct Row {
    int token;
    int head;
  };
  __device__ __forceinline__ Row row_of(const PromptTile& tile, int row) const {
    const int at = tile.first_head + row;
    const int token = at * task_.heads_inverse >> 16;
    return {tile.first_token + token, tile.kv_head * task_.heads + at - token * task_.heads};
  }
  __device__ __forceinline__ std::int64_t query_row(const PromptTile& tile, int row) const {
    const Row at = row_of(tile, row);
    return static_cast<std::int64_t>(tile.slice_token + at.token) * task_.num_heads + at.head;
  }
  __device__ __forceinline__ int position_of(const PromptTile& tile, int row) const {
    return tile.first_position + row_of(tile, row).token;
  }
  /// Rows behind the tile's last become zero.
  __device__ __forceinline__ void copy_queries(const PromptTile& tile) const {
    const int in_eight = lane_ / 4;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = 8 * (2 * warp_ + i) + in_eight;
      const bool is_there = group_ * kPromptGroupRows + row < tile.num_rows;
      const std::byte* from =
          static_cast<const std::byte*>(task_.queries) +
          query_row(tile, is_there ? group_ * kPromptGroupRows + row : 0) * (kDim * 2) +
          lane_ % 4 * 16;
      std::byte* to = memory_.queries[group_] + lane_ % 4 / 2 * (kPromptGroupRows * 32) + row * 32 +
                      (lane_ % 2 ^ in_eight / 4) * 16;
#pragma unroll
      for (int units = 0; units < kUnits; units += 2)
        copy_of_run(to + units * (kPromptGroupRows * 32), from + units * 32, is_there);
    }
  }
  /// Of the tile, row g of the lane's two.
  [[nodiscard]] __device__ __forceinline__ int row_of_lane() const {
    return group_ * kPromptGroupRows + warp_ * 16 + lane_ / 4;
  }
  __device__ __forceinline__ void find_rows(const PromptTile& tile) {
    const int first_row = group_ * kPromptGroupRows;
    const int num_rows = min(tile.num_rows, first_row + kPromptGroupRows);
    const int first = position_of(tile, first_row);
    const int last = position_of(tile, num_rows - 1);
    rows_.first_position = first_lanes(first);
    rows_.last_position = first_lanes(num_rows > first_row ? last : -1);
    rows_.first_seen = first_lanes(task_.window > 0 ? first + 1 - task_.window : 0);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      rows_.factor[half] = task_.scale * kLog2E;
      if constexpr (Codec::kCoded) {
        const int row = row_of_lane() + 8 * half;
        const float scale = row < tile.num_rows ? task_.query_scales[query_row(tile, row)] : 0.0F;
        rows_.factor[half] = __fmul_rn(rows_.factor[half], scale);
      }
    }
  }
  /// The last position that the lane's rows see; -1: behind the tile's last.
  __device__ __forceinline__ void find_seen(const PromptTile& tile, int (&seen)[2]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = row_of_lane() + 8 * half;
      seen[half] = row < tile.num_rows ? position_of(tile, row) : -1;
    }
  }

  /// scores = queries x keys of the slot
  template <int kScores>
  __device__ __forceinline__ void multiply_keys(float (&scores)[kScores]) const {
    const std::uint32_t queries = shared_address(memory_.queries[group_]) / 16;
    const std::uint32_t keys = shared_address(memory_.ring.slots[cursor_.slot]) / 16;
    begin_wgmma();
#pragma unroll
    for (int u = 0; u < kUnits; ++u)
      wgmma_shared<Codec::kIsBf16>(
          scores, step_descriptor(queries + u * (kPromptGroupRows * 32 / 16), 256),
          step_descriptor(keys + u * (256 / 16), Memory::kKeyStride), u > 0);
    commit_wgmma();
    wait_wgmma<0>();
  }
  template <class Chunk>
  __device__ __forceinline__ void soften(const PromptTile& tile, int chunk,
                                         typename Chunk::Scores& scores,
                                         typename Chunk::Weights& weights, LaneStats& stats,
                                         typename Chunk::Totals& totals) {
    const int first_position = chunk * kChunkPositions;
    if constexpr (Codec::kCoded) {
      wait_phase(&memory_.scales_full, scales_parity_);
      Chunk::scale(memory_.scales[0], scores);
    }
    if (task_.window > 0 || first_position + kChunkPositions - 1 > rows_.first_position) {
      int seen[2];
      find_seen(tile, seen);
      Chunk::mask(seen, task_.window, first_position, scores);
    }
    Chunk::soften(rows_, scores, stats, totals);
    stats.weight_scale[0] = stats.weight_scale[1] = 1.0F;
    if constexpr (Codec::kCoded) {
      Chunk::add_totals(totals, stats);  // now, since registers are short
      Chunk::scale_weights(memory_.scales[1], scores, stats);
      end_scales();
    }
    Chunk::pack(scores, weights);
  }
  /// Begins part = weights x values of the slot. Runs behind `last` have weights of zero; in their
  /// place that one is multiplied, which is there.
  template <int kRuns>
  __device__ __forceinline__ void begin_values(const std::uint32_t (&weights)[kRuns][4], int last,
                                               Sums& part) const {
    const std::uint32_t values = shared_address(memory_.ring.slots[cursor_.slot]) / 16;
    begin_wgmma();
#pragma unroll
    for (int run = 0; run < kRuns; ++run)
      wgmma_half<Codec::kIsBf16>(
          part, weights[run],
          step_descriptor(values + min(run, last) * (Memory::Ring::kRunBytes / 16), 256), run > 0);
    commit_wgmma();
  }

  __device__ __forceinline__ void store(const PromptTile& tile) const {
    switch (task_.out_element) {
      case Element::kF32:
        return store_as<Element::kF32>(tile);
      case Element::kF16:
        return store_as<Element::kF16>(tile);
      case Element::kBf16:
        return store_as<Element::kBf16>(tile);
    }
  }
  template <Element kElement>
  __device__ __forceinline__ void store_as(const PromptTile& tile) const {
    constexpr int kBytes = element_bytes(kElement);
    const int run = task_.out_run;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (row_of_lane() + 8 * half >= tile.num_rows) return;
      const Row row = row_of(tile, row_of_lane() + 8 * half);
      // A head begins where dealt columns do, and so do eight columns but for the lane's place.
      const int column = row.head * kDim + dealt_column(lane_ % 4 * 2, kBytes, run);
      std::byte* out =
          static_cast<std::byte*>(task_.out) +
          (static_cast<std::int64_t>(tile.slice_token + row.token) * task_.out_stride + column) *
              kBytes;
      const Quotient by_total(result_.total[half]);
#pragma unroll
      for (int j = 0; j < kDim / 8; ++j)
        store_pair<kElement>(out + dealt_column(j * 8, kBytes, run) * kBytes,
                             by_total(result_.sums[4 * j + half * 2]),
                             by_total(result_.sums[4 * j + half * 2 + 1]));
    }
  }

  const PromptArgs& task_;
  Memory& memory_;
  LaneResult<kDim> result_;
  LaneRows rows_;
  typename Memory::Ring::Cursor cursor_;
  TileCursor tiles_;
  int scales_parity_ = 0;
  int group_;
  int lane_ = static_cast<int>(threadIdx.x) % 32;
  int warp_ = first_lanes(static_cast<int>(threadIdx.x) / 32 % 4);
};

#endif

}  // namespace iol::cuda
