#pragma once
// Weights on their way through shared memory: for each part of K a ring, of the part of all units
// that the block multiplies, link after link. Warps of their own fill them, ahead of what is
// multiplied and, since weights depend on nothing, of the barriers between links.
//
// No more is asked for at a time than keeps the memory busy: whatever else a multiprocessor reads -
// the rows of the next link, keys and values beside it - comes behind what it has asked for.
#include "backend/cuda/kernels/chain_links.cuh"
#include "backend/cuda/kernels/copy_engine.cuh"

namespace iol::cuda {

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

/// What a block multiplies of one part of K, stage by stage.
template <class Format>
class PartWalk {
  using Stage = ChainStage<Format>;

 public:
  __device__ __forceinline__ PartWalk(const ChainArgs& args, int part) : args_(args), part_(part) {
    begin_link(0);
  }
  [[nodiscard]] __device__ __forceinline__ bool is_over() const { return link_ >= args_.num_links; }
  /// Begins the copies of the stage at hand, by one lane, and goes on to the next one.
  __device__ __forceinline__ void copy(std::uint32_t stage, std::uint32_t here) {
    const int blocks = min(stage_blocks_, left_);
    if (is_elected()) {
      const int bytes = blocks * Stage::kBlockBytes;
      arrive_expecting_at(here, (bytes + group_bytes(blocks)) << pair_);
      copy_bulk_at(stage, from_, bytes, here);
      copy_groups(stage, 0, blocks, here);
      if (pair_ != 0) {
        copy_bulk_at(stage + Stage::kWeightBytes / 2, from_ + tile_bytes_, bytes, here);
        copy_groups(stage, 1, blocks, here);
      }
    }
    left_ -= stage_blocks_;
    from_ += stage_blocks_ * Stage::kBlockBytes;
    if (left_ > 0) return;
    unit_ += static_cast<int>(gridDim.x);
    if (unit_ >= num_units_) return begin_link(link_ + 1);
    from_ += unit_step_;
    left_ = blocks_;
  }

 private:
  /// Of scales and zero points.
  [[nodiscard]] static __device__ __forceinline__ int group_bytes(int blocks) {
    if constexpr (!Format::kHasGroups) return 0;
    return blocks / Stage::kBlocksOfGroup * (Stage::kScaleBytes + kTileRows);
  }
  /// Those of a tile of the pair: they lie as the weights do, so many bytes to a group.
  __device__ __forceinline__ void copy_groups(std::uint32_t stage, int tile, int blocks,
                                              std::uint32_t here) const {
    if constexpr (Format::kHasGroups) {
      constexpr int kGroupBytes = Stage::kBlocksOfGroup * Stage::kBlockBytes;
      const LinearArgs& linear = args_.links[link_].linear;
      const std::int64_t group = (from_ + tile * tile_bytes_ - linear.weights) / kGroupBytes;
      const int groups = blocks / Stage::kBlocksOfGroup;
      const int place = tile * (Stage::kGroups / 2);
      copy_bulk_at(stage + Stage::kScales + place * Stage::kScaleBytes,
                   linear.matrix.scales + group * kTileRows, groups * Stage::kScaleBytes, here);
      copy_bulk_at(stage + Stage::kZeros + place * kTileRows,
                   linear.matrix.zeros + group * kTileRows, groups * kTileRows, here);
    }
  }
  /// Link `number`, or the next one of which the block multiplies something.
  __device__ __forceinline__ void begin_link(int number) {
    for (link_ = number; !is_over(); ++link_) {
      const ChainLink& link = args_.links[link_];
      const BlockRange range = link_part<Format>(link, part_);
      blocks_ = range.end - range.begin;
      unit_ = static_cast<int>(blockIdx.x);
      num_units_ = link.num_units;
      if (blocks_ == 0 || unit_ >= num_units_) continue;
      pair_ = link.unit_tiles - 1;
      stage_blocks_ = Stage::kBlocks >> pair_;
      tile_bytes_ = link.num_blocks * Stage::kBlockBytes;
      from_ = link.linear.weights + ((static_cast<std::int64_t>(unit_) * tile_bytes_) << pair_) +
              range.begin * Stage::kBlockBytes;
      // From behind a unit's last stage to the next unit's first.
      const int stages = (blocks_ + stage_blocks_ - 1) / stage_blocks_;
      unit_step_ = ((static_cast<std::int64_t>(gridDim.x) * tile_bytes_) << pair_) -
                   stages * stage_blocks_ * Stage::kBlockBytes;
      left_ = blocks_;
      return;
    }
  }

  const ChainArgs& args_;
  int part_;
  int link_;
  int unit_;
  int num_units_;
  int pair_;          // 1: gate and up
  int stage_blocks_;  // of a tile, in a stage
  int blocks_;        // of a tile, in the part
  int left_;          // of them, from the stage at hand on
  int tile_bytes_;    // all parts
  const std::byte* from_;
  std::int64_t unit_step_;
};

/// Fills the ring of one part. All lanes of a warp call everything together.
template <class Format>
class PartFeed {
 public:
  __device__ __forceinline__ PartFeed(const ChainArgs& args, PartRing& ring, std::byte* stages,
                                      int part)
      : walk_(args, part),
        asked_(args.stages_asked),
        stages_(shared_address(stages)),
        here_(shared_address(ring.stage_is_here)),
        free_(shared_address(ring.stage_is_free)) {
    const int lane = threadIdx.x % 32;
    if (lane < kPartStages) {
      init_barrier(ring.stage_is_here + lane, 1);
      init_barrier(ring.stage_is_free + lane, 1);
      publish_barriers();
    }
    __syncwarp();
  }
  /// Fills the next stage, when it is free and fewer than ChainArgs::stages_asked are on their way.
  /// False: there is none.
  __device__ __forceinline__ bool fill() {
    if (walk_.is_over()) return false;
    if (num_begun_ < asked_) {
      ++num_begun_;
    } else {
      wait_phase_at(here_ + last_here_.place * 8, last_here_.parity);
      last_here_.next();
    }
    wait_phase_at(free_ + next_.place * 8, next_.parity ^ 1);
    walk_.copy(stages_ + next_.place * ChainStage<Format>::kBytes, here_ + next_.place * 8);
    next_.next();
    return true;
  }

 private:
  PartWalk<Format> walk_;
  int asked_;
  std::uint32_t stages_;
  std::uint32_t here_;
  std::uint32_t free_;
  Turn<kPartStages> next_;       // to be filled
  Turn<kPartStages> last_here_;  // asked_ before it
  int num_begun_ = 0;
};

/// Takes the stages of one part, by the warp that multiplies them.
template <class Format>
class PartStages {
 public:
  __device__ __forceinline__ PartStages(PartRing& ring, const std::byte* stages)
      : stages_(stages),
        here_(shared_address(ring.stage_is_here)),
        free_(shared_address(ring.stage_is_free)) {}
  /// The next one, when it is here.
  __device__ __forceinline__ const std::byte* take() const {
    wait_phase_at(here_ + next_.place * 8, next_.parity);
    return stages_ + next_.place * ChainStage<Format>::kBytes;
  }
  /// Gives it back.
  __device__ __forceinline__ void give_back() {
    __syncwarp();
    if (threadIdx.x % 32 == 0) arrive_at(free_ + next_.place * 8);
    next_.next();
  }

 private:
  const std::byte* stages_;
  std::uint32_t here_;
  std::uint32_t free_;
  Turn<kPartStages> next_;
};

#endif

}  // namespace iol::cuda
