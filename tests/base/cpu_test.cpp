#include "base/cpu.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <thread>

namespace iol {
namespace {

TEST(Cpu, names_of_levels_parse_back) {
  for (const Isa isa : all_isas()) EXPECT_EQ(parse_isa(isa_name(isa)), isa);
  EXPECT_EQ(parse_isa("sse9"), std::nullopt);
  EXPECT_EQ(parse_isa(""), std::nullopt);
}

TEST(Cpu, levels_are_those_that_the_kernel_reports) {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string flags;
  for (std::string line; std::getline(cpuinfo, line) && flags.empty();)
    if (line.starts_with("flags")) flags = line + " ";
  if (flags.empty()) GTEST_SKIP() << "no flags in /proc/cpuinfo";
  const auto has = [&](const char* flag) {
    return flags.find(" " + std::string(flag) + " ") != std::string::npos;
  };
  const auto isas = supported_isas();
  const auto supports = [&](Isa isa) {
    return std::find(isas.begin(), isas.end(), isa) != isas.end();
  };
  EXPECT_TRUE(supports(Isa::kPortable));
  EXPECT_EQ(supports(Isa::kAvx2), has("avx2") && has("fma"));
  EXPECT_EQ(supports(Isa::kAvx512), supports(Isa::kAvx2) && has("avx512f") && has("avx512bw") &&
                                        has("avx512dq") && has("avx512vl"));
  EXPECT_EQ(supports(Isa::kAvx2Vnni), supports(Isa::kAvx2) && has("avx_vnni"));
  EXPECT_EQ(supports(Isa::kAvx512Vnni), supports(Isa::kAvx512) && has("avx512_vnni"));
  EXPECT_EQ(supports(Isa::kAvx512Bf16),
            supports(Isa::kAvx512Vnni) && has("avx512_bf16") && has("avx512vbmi"));
  EXPECT_EQ(supports(Isa::kAmx),
            supports(Isa::kAvx512Bf16) && has("amx_tile") && has("amx_bf16") && has("amx_int8"));
  EXPECT_EQ(best_isa(), isas.back());
}

TEST(Cpu, respects_the_affinity_mask) {
  // In a thread of its own: the mask belongs to a thread.
  std::thread([] {
    const int last = allowed_cpus().back();
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
    EXPECT_EQ(allowed_cpus(), std::vector<int>{last});
    EXPECT_EQ(default_num_threads(), 1);
  }).join();
}

TEST(Cpu, uses_no_more_threads_than_it_may) {
  EXPECT_GE(default_num_threads(), 1);
  EXPECT_LE(default_num_threads(), static_cast<int>(allowed_cpus().size()));
  if (const auto quota = cgroup_cpu_quota()) {
    EXPECT_LT(default_num_threads(), *quota + 1);
  }
}

}  // namespace
}  // namespace iol
