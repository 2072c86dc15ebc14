#include "backend/device.h"

#include <fmt/format.h>

#include <charconv>

namespace iol {

std::optional<Device> parse_device(std::string_view text) {
  if (text == "auto") return Device{DeviceKind::kAuto, 0};
  if (text == "cpu") return Device{DeviceKind::kCpu, 0};
  if (text == "cuda") return Device{DeviceKind::kCuda, 0};
  constexpr std::string_view kPrefix = "cuda:";
  if (!text.starts_with(kPrefix)) return std::nullopt;
  const std::string_view number = text.substr(kPrefix.size());
  int index = -1;
  const auto result = std::from_chars(number.data(), number.data() + number.size(), index);
  const bool is_number = result.ec == std::errc() && result.ptr == number.data() + number.size();
  if (!is_number || index < 0) return std::nullopt;
  return Device{DeviceKind::kCuda, index};
}

std::string device_name(const Device& device) {
  if (device.kind == DeviceKind::kAuto) return "auto";
  if (device.kind == DeviceKind::kCpu) return "cpu";
  return fmt::format("cuda:{}", device.index);
}

}  // namespace iol
