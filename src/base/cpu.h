#pragma once
// What this processor can do and how much of it we may use.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace iol {

/// Instruction-set levels with kernels of their own, weakest first.
enum class Isa { kPortable, kAvx2, kAvx2Vnni, kAvx512, kAvx512Vnni, kAvx512Bf16, kAmx };

std::string_view isa_name(Isa isa);
std::optional<Isa> parse_isa(std::string_view name);
/// All levels, weakest first, whether they run here or not.
std::vector<Isa> all_isas();
/// "portable, avx2, ... or amx", for messages.
std::string isa_choices();
/// Levels this processor and operating system run, weakest first. Where there is AMX, asks the
/// system for the use of its tile registers, which every process has to do.
std::vector<Isa> supported_isas();
Isa best_isa();

/// CPUs this process may run on (affinity mask), in ascending order.
std::vector<int> allowed_cpus();
/// CPU time granted per unit of wall time by the cgroup (v1 or v2); nothing when unlimited.
std::optional<double> cgroup_cpu_quota();
/// min(allowed CPUs, ceil(quota)), at least 1: the number of threads a run uses by default.
int default_num_threads();
/// "AMD EPYC ...", from /proc/cpuinfo; "unknown" where that can't be read.
std::string cpu_model_name();

}  // namespace iol
