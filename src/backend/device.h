#pragma once
// Which device a run uses (`--device`).
#include <optional>
#include <string>
#include <string_view>

namespace iol {

enum class DeviceKind : unsigned char {
  kAuto,  // a GPU where there is a usable one, else the CPU
  kCpu,
  kCuda,
};

struct Device {
  DeviceKind kind = DeviceKind::kAuto;
  int index = 0;  // of the GPU

  bool operator==(const Device&) const = default;
};

/// "auto", "cpu", "cuda" (the first GPU) or "cuda:N"; nothing for anything else.
std::optional<Device> parse_device(std::string_view text);

/// "auto", "cpu", "cuda:0".
std::string device_name(const Device& device);

}  // namespace iol
