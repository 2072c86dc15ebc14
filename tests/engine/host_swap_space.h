#pragma once
// A swap space for the CPU's cache, which needs none: the engine's part of swapping, without a GPU.
#include <cstring>
#include <vector>

#include "backend/cpu/cpu_kv_cache.h"

namespace iol::test {

class HostSwapSpace final : public KvSwapSpace {
 public:
  HostSwapSpace(cpu::CpuKvCache& cache, int num_slots)
      : cache_(cache), memory_(cache.shape().block_bytes() * static_cast<std::size_t>(num_slots)) {}

  [[nodiscard]] std::size_t size_bytes() const override { return memory_.size(); }
  void copy_out(std::span<const BlockCopy> copies) override {
    for_each_piece(copies, [](std::byte* block, std::byte* slot, std::size_t bytes) {
      std::memcpy(slot, block, bytes);
    });
  }
  /// A place that was read from is spoilt: nobody may read it twice.
  void copy_in(std::span<const BlockCopy> copies) override {
    for_each_piece(copies, [](std::byte* block, std::byte* slot, std::size_t bytes) {
      std::memcpy(block, slot, bytes);
      std::memset(slot, 0xff, bytes);
    });
  }

 private:
  template <class Copy>
  void for_each_piece(std::span<const BlockCopy> copies, const Copy& copy) {
    const int num_layers = cache_.shape().num_layers;
    for (const auto [block, slot] : copies) {
      for (int layer = 0; layer < num_layers; ++layer) {
        const cpu::CacheView view = cache_.layer(layer);
        const std::int64_t place = std::int64_t{slot} * num_layers + layer;
        copy(view.layer + view.block_bytes * block, memory_.data() + view.block_bytes * place,
             static_cast<std::size_t>(view.block_bytes));
      }
    }
  }

  cpu::CpuKvCache& cache_;
  std::vector<std::byte> memory_;
};

}  // namespace iol::test
