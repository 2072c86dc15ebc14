#include "engine/memory_check.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "base/error.h"

namespace iol {
namespace {

std::int64_t read_number(const std::string& path, std::int64_t otherwise) {
  std::ifstream file(path);
  std::int64_t value = 0;
  return file >> value ? value : otherwise;
}

std::int64_t system_available_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  std::int64_t kilobytes = 0;
  std::string unit;
  while (file >> key >> kilobytes >> unit) {
    if (key == "MemAvailable:") return kilobytes * 1024;
  }
  return std::numeric_limits<std::int64_t>::max();
}

/// Limit minus use of the memory cgroup, version 2 or 1, as a container sees it at its root.
std::int64_t cgroup_available_bytes() {
  constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
  const std::int64_t limit =
      std::min(read_number("/sys/fs/cgroup/memory.max", kNone),
               read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes", kNone));
  if (limit >= kNone / 2) return kNone;
  const std::int64_t used = std::max(read_number("/sys/fs/cgroup/memory.current", 0),
                                     read_number("/sys/fs/cgroup/memory/memory.usage_in_bytes", 0));
  return std::max<std::int64_t>(limit - used, 0);
}

/// What `ulimit -v` leaves to this process.
std::int64_t limit_available_bytes() {
  constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kNone;
  const std::int64_t mapped = read_number("/proc/self/statm", 0) * ::sysconf(_SC_PAGE_SIZE);
  return std::max<std::int64_t>(static_cast<std::int64_t>(limit.rlim_cur) - mapped, 0);
}

}  // namespace

std::int64_t available_memory_bytes() {
  return std::min({system_available_bytes(), cgroup_available_bytes(), limit_available_bytes()});
}

void require_memory(std::int64_t needed_bytes, std::string_view what, const MemoryAdvice& advice) {
  const std::int64_t available = available_memory_bytes();
  if (needed_bytes <= available) return;
  throw_resource_error(
      "{} needs {:.2f} GB of memory, but {:.2f} GB are available; {}'iol plan' shows what fits",
      what, static_cast<double>(needed_bytes) / 1e9, static_cast<double>(available) / 1e9,
      advice ? advice() : std::string());
}

}  // namespace iol
