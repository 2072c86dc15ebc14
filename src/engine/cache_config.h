#pragma once
#include "engine/engine.h"
#include "engine/loaded_model.h"
#include "kv_cache/block_tables.h"

namespace iol {

/// The cache of `config`, whose defaults are filled in.
KvCacheShape cache_shape(const EngineConfig& config, const LoadedModel& model);

/// Who gets which block of it. Throws InputError when the swap space doesn't hold a single one.
BlockTablesConfig tables_config(const EngineConfig& config, const KvCacheShape& shape);

}  // namespace iol
