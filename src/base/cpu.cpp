#include "base/cpu.h"

#include <sched.h>
#ifdef IOL_X86
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <sstream>

namespace iol {
namespace {

struct IsaRow {
  Isa isa;
  std::string_view name;
};
constexpr std::array<IsaRow, 7> kIsas{{{Isa::kPortable, "portable"},
                                       {Isa::kAvx2, "avx2"},
                                       {Isa::kAvx2Vnni, "avx2-vnni"},
                                       {Isa::kAvx512, "avx512"},
                                       {Isa::kAvx512Vnni, "avx512-vnni"},
                                       {Isa::kAvx512Bf16, "avx512-bf16"},
                                       {Isa::kAmx, "amx"}}};

#ifdef IOL_X86
/// Not every compiler's __builtin_cpu_supports knows every name.
struct Features {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  explicit Features(unsigned subleaf) { __get_cpuid_count(7, subleaf, &eax, &ebx, &ecx, &edx); }
};

/// AVX-VNNI, the 256-bit instructions without AVX-512.
bool has_avx_vnni() { return (Features(1).eax & (1U << 4)) != 0; }

/// AMX-BF16, AMX-TILE and AMX-INT8, and the system's permission to use tiles, which systems that
/// don't know them refuse.
bool has_amx() {
  constexpr unsigned kBits = 1U << 22 | 1U << 24 | 1U << 25;
  if ((Features(0).edx & kBits) != kBits) return false;
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

bool runs(Isa isa) {
#ifdef IOL_X86
  switch (isa) {
    case Isa::kPortable:
      return true;
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::kAvx2Vnni:
      return runs(Isa::kAvx2) && has_avx_vnni();
    case Isa::kAvx512:
      return runs(Isa::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
    case Isa::kAvx512Vnni:
      return runs(Isa::kAvx512) && __builtin_cpu_supports("avx512vnni");
    case Isa::kAvx512Bf16:
      return runs(Isa::kAvx512Vnni) && __builtin_cpu_supports("avx512bf16") &&
             __builtin_cpu_supports("avx512vbmi");
    case Isa::kAmx:
      return runs(Isa::kAvx512Bf16) && has_amx();
  }
  return false;
#else
  return isa == Isa::kPortable;
#endif
}

std::optional<double> quota_from(double quota_us, double period_us) {
  if (quota_us <= 0 || period_us <= 0) return std::nullopt;
  return quota_us / period_us;
}

/// The path of this process in the hierarchy of `controller` ("" for cgroup v2).
std::string cgroup_path(std::string_view controller) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::istringstream controllers(line.substr(first + 1, second - first - 1));
    if (controller.empty() && second == first + 1) return line.substr(second + 1);
    for (std::string name; std::getline(controllers, name, ',');) {
      if (name == controller) return line.substr(second + 1);
    }
  }
  return "/";
}

/// The tightest quota on the way from this process's group up to the root.
template <class ReadQuota>
std::optional<double> tightest_quota(std::string path, ReadQuota&& read_quota) {
  std::optional<double> tightest;
  while (true) {
    if (const auto quota = read_quota(path)) tightest = std::min(tightest.value_or(*quota), *quota);
    const auto slash = path.find_last_of('/');
    if (slash == std::string::npos || path.size() <= 1) return tightest;
    path.resize(std::max<std::size_t>(slash, slash == 0 ? 1 : slash));
  }
}

}  // namespace

std::string_view isa_name(Isa isa) { return kIsas[static_cast<std::size_t>(isa)].name; }

std::optional<Isa> parse_isa(std::string_view name) {
  for (const auto& row : kIsas) {
    if (row.name == name) return row.isa;
  }
  return std::nullopt;
}

std::vector<Isa> all_isas() {
  std::vector<Isa> isas;
  for (const auto& row : kIsas) isas.push_back(row.isa);
  return isas;
}

std::string isa_choices() {
  std::string choices;
  for (const auto& row : kIsas) {
    if (!choices.empty()) choices += row.isa == kIsas.back().isa ? " or " : ", ";
    choices += row.name;
  }
  return choices;
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> supported;
  for (const auto& row : kIsas) {
    if (runs(row.isa)) supported.push_back(row.isa);
  }
  return supported;
}

Isa best_isa() { return supported_isas().back(); }

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

std::optional<double> cgroup_cpu_quota() {
  const auto version2 = [](const std::string& path) -> std::optional<double> {
    std::ifstream file("/sys/fs/cgroup" + path + "/cpu.max");
    std::string quota;
    double period_us = 0;
    if (!(file >> quota >> period_us) || quota == "max") return std::nullopt;
    return quota_from(std::atof(quota.c_str()), period_us);
  };
  const auto version1 = [](const std::string& path) -> std::optional<double> {
    std::ifstream quota_file("/sys/fs/cgroup/cpu" + path + "/cpu.cfs_quota_us");
    std::ifstream period_file("/sys/fs/cgroup/cpu" + path + "/cpu.cfs_period_us");
    double quota_us = 0;
    double period_us = 0;
    if (!(quota_file >> quota_us) || !(period_file >> period_us)) return std::nullopt;
    return quota_from(quota_us, period_us);
  };
  if (const auto quota = tightest_quota(cgroup_path(""), version2)) return quota;
  return tightest_quota(cgroup_path("cpu"), version1);
}

int default_num_threads() {
  int threads = static_cast<int>(allowed_cpus().size());
  if (const auto quota = cgroup_cpu_quota()) {
    threads = std::min(threads, static_cast<int>(std::ceil(*quota)));
  }
  return std::max(threads, 1);
}

std::string cpu_model_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

}  // namespace iol
