#pragma once
// A libnvidia-ml of the tests' own, and what it answers. The test and the program under test load
// the same file and so share one state.
#include <dlfcn.h>

#include <map>
#include <string>

namespace iol::test {

struct FakeNvmlState {
  std::map<std::string, int> results;  // of a function, when it isn't success (0)
  std::string uuid = "GPU-11111111-2222-3333-4444-555555555555";
  unsigned power_mw = 312500;
  unsigned long long energy_mj = 5'000'000;
  unsigned long long memory_used = 20ULL << 30;
  unsigned utilization = 87;
  unsigned sm_clock = 1755;
  unsigned memory_clock = 3201;
  unsigned temperature = 61;
  unsigned long long throttle = 0x4;
  std::map<unsigned, unsigned long long> processes;  // pid -> bytes
  int num_reads = 0;                                 // of the power
};

/// The fake's state; its library stays loaded.
inline FakeNvmlState& fake_nvml() {
  static auto* const state = [] {
    void* library = ::dlopen(IOL_FAKE_NVML, RTLD_NOW);
    auto* get = reinterpret_cast<FakeNvmlState* (*)()>(::dlsym(library, "fake_nvml_state"));
    return get();
  }();
  return *state;
}

}  // namespace iol::test
