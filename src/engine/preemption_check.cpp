#include "engine/preemption_check.h"

#include "base/error.h"
#include "engine/loaded_model.h"
#include "engine/memory_check.h"

namespace iol {

void check_preemption(const EngineConfig& config) {
  if (config.preemption != PreemptionMode::kSwap) return;
  if (device_of(config).kind == DeviceKind::kCpu) {
    throw_input_error(
        "--preemption-mode swap: on the CPU keys and values are in the host's memory already; "
        "leave it out, or use --device cuda");
  }
  const bool is_contiguous = config.kv_allocation == KvAllocation::kContiguous;
  if (is_contiguous || config.scheduler == SchedulerPolicy::kStatic) {
    throw_input_error(
        "--preemption-mode swap: nothing is ever preempted with {}; leave one of the two out",
        is_contiguous ? "--kv-allocation contiguous" : "--scheduler static");
  }
  require_memory(config.swap_space_bytes, "--swap-space");
}

}  // namespace iol
