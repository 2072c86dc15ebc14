#pragma once
#include <chrono>
#include <cstdint>

namespace iol {

/// Nanoseconds of the one clock every measurement uses (steady, arbitrary origin).
inline std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace iol
