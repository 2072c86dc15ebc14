#include "bench/environment.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <fstream>
#include <string_view>

#include "backend/cuda/cuda_device.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "bench/canary.h"
#include "bench/json_or_null.h"
#include "iol_build_info.h"
#include "telemetry/gpu_monitor.h"

namespace iol::bench {
namespace {

using nlohmann::json;

/// The first line of a small file of the kernel's; null when it can't be read.
json first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return nullptr;
  return line;
}

json memory_limit_bytes() {
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(path);
    std::uint64_t bytes = 0;
    // Version 1 says "no limit" with a number near 2^63.
    if (file >> bytes && bytes < (std::uint64_t{1} << 60)) return bytes;
  }
  return nullptr;
}

std::string_view transparent_huge_pages(const std::string& setting) {
  const auto begin = setting.find('[');
  const auto end = setting.find(']');
  if (begin == std::string::npos || end == std::string::npos) return "unknown";
  return std::string_view(setting).substr(begin + 1, end - begin - 1);
}

}  // namespace

namespace {

/// The device that the canary reads and our engine runs on.
json device_record(const Device& device) {
  json record = {{"name", device_name(device)}};
  if (device.kind != DeviceKind::kCuda) return record;
  for (const auto& gpu : cuda_status().devices) {
    if (gpu.index != device.index) continue;
    GpuMonitor monitor(gpu.uuid);
    const GpuFacts facts = monitor.facts();
    record.update({{"gpu", gpu.name},
                   {"uuid", gpu.uuid},
                   {"memory_bytes", gpu.memory_bytes},
                   {"driver_cuda", cuda_status().driver},
                   {"driver", or_null(facts.driver_version)},
                   {"power_limit_w", or_null(facts.power_limit_w)},
                   {"max_sm_clock_mhz", or_null(facts.max_sm_clock_mhz)},
                   {"max_memory_clock_mhz", or_null(facts.max_memory_clock_mhz)}});
    if (!monitor.unavailable_reason().empty()) {
      record["unavailable"] = monitor.unavailable_reason();
    } else if (!monitor.missing().empty()) {
      record["unavailable"] = monitor.missing();
    }
  }
  return record;
}

}  // namespace

json machine_record() {
  const auto cpus = allowed_cpus();
  const auto quota = cgroup_cpu_quota();
  utsname kernel{};
  ::uname(&kernel);
  json isas = json::array();
  for (const auto isa : supported_isas()) isas.push_back(isa_name(isa));
  const json huge_pages = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  return {{"cpu_model", cpu_model_name()},
          {"isa", std::move(isas)},
          {"cpus_online", ::sysconf(_SC_NPROCESSORS_ONLN)},
          {"cpus_allowed", cpus.size()},
          {"cgroup_cpu_quota", or_null(quota)},
          {"cgroup_memory_limit_bytes", memory_limit_bytes()},
          {"memory_bytes", std::int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGE_SIZE)},
          {"last_level_cache_bytes", last_level_cache_bytes()},
          {"governor", first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")},
          {"transparent_huge_pages",
           huge_pages.is_string() ? json(transparent_huge_pages(huge_pages.get<std::string>()))
                                  : json(nullptr)},
          {"kernel", std::string(kernel.sysname) + " " + kernel.release},
          {"architecture", kernel.machine}};
}

std::string utc_time_text() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  std::array<char, 32> text{};
  const auto length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return {text.data(), length};
}

json environment_record(const RunIdentity& identity) {
  return {{"started_at", utc_time_text()},
          {"clock_ns_at_start", now_ns()},  // what t_ns and the others count from
          {"command", identity.command},
          {"revision", IOL_BUILD_REVISION},
          {"seed", identity.seed},
          {"threads", identity.num_threads},
          {"device", device_record(identity.device)},
          {"machine", machine_record()},
          {"software",
           {{"iol", IOL_VERSION},
            {"compiler", IOL_BUILD_COMPILER},
            {"compiler_flags", IOL_BUILD_FLAGS},
            {"build_type", IOL_BUILD_TYPE},
            {"sanitizers", IOL_BUILD_SANITIZE}}},
          {"load", identity.load},
          {"canary_read_bytes_per_s", identity.canary_read_bytes_per_s},
          {"canary_buffer_bytes", identity.canary_buffer_bytes},
          {"percentile_estimator", "nearest rank"},
          {"not_measured", identity.not_measured}};
}

}  // namespace iol::bench
