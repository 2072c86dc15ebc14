#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace iol {

/// Bytes that this process can still take: what the system has available, within the limits of
/// the cgroup and of `ulimit -v`.
std::int64_t available_memory_bytes();

/// What would fit, with a semicolon and a space behind it; asked for when something doesn't.
using MemoryAdvice = std::function<std::string()>;

/// Throws ResourceError when `needed_bytes` for `what` are more than available. `advice` may be
/// null.
void require_memory(std::int64_t needed_bytes, std::string_view what,
                    const MemoryAdvice& advice = nullptr);

}  // namespace iol
