#pragma once
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "backend/device.h"
#include "telemetry/gpu_monitor.h"

namespace iol {

/// " (process 4242 holds 12.30 GB)": who else has a GPU's memory, as far as the driver tells; empty
/// when nobody has. `self` is not named; where the driver doesn't show it, as in a container, it
/// may show others by wrong numbers, and only the sum in use is said.
std::string holders_text(std::span<const GpuProcess> processes, pid_t self,
                         std::optional<std::int64_t> used_bytes);

/// The same of a GPU as it is now.
std::string holders_text(const Device& device);

}  // namespace iol
