#pragma once
#include <cstdint>
#include <string_view>

namespace iol {

/// Bytes that this process can still take: what the system has available, within the limits of
/// the cgroup and of `ulimit -v`.
std::int64_t available_memory_bytes();

/// Throws ResourceError when `needed_bytes` for `what` are more than available. `advice`: empty, or
/// what would fit, with a semicolon and a space behind it.
void require_memory(std::int64_t needed_bytes, std::string_view what, std::string_view advice = {});

}  // namespace iol
