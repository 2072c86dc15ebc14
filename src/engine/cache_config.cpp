#include "engine/cache_config.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace iol {
namespace {

int num_swap_slots(const EngineConfig& config, const KvCacheShape& shape) {
  if (config.preemption != PreemptionMode::kSwap) return 0;
  const auto block_bytes = static_cast<std::int64_t>(shape.block_bytes());
  const std::int64_t num_slots = config.swap_space_bytes / block_bytes;
  if (num_slots < 1) {
    throw_input_error("--swap-space: {} bytes hold no block, which has {}; raise it",
                      config.swap_space_bytes, block_bytes);
  }
  return static_cast<int>(std::min<std::int64_t>(num_slots, std::numeric_limits<int>::max()));
}

}  // namespace

KvCacheShape cache_shape(const EngineConfig& config, const LoadedModel& model) {
  const auto num_blocks =
      static_cast<int>((config.kv_cache_tokens + config.block_size - 1) / config.block_size);
  return kv_cache_shape(model.config, num_blocks, config.block_size, model.kv_dtype);
}

BlockTablesConfig tables_config(const EngineConfig& config, const KvCacheShape& shape) {
  BlockTablesConfig tables;
  tables.num_blocks = shape.num_blocks;
  tables.block_size = shape.block_size;
  tables.allocation = config.kv_allocation;
  tables.prefix_cache = config.prefix_cache;
  tables.num_swap_slots = num_swap_slots(config, shape);
  return tables;
}

}  // namespace iol
