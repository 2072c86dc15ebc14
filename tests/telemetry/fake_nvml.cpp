#include "tests/telemetry/fake_nvml.h"

#include <cstring>

using iol::test::FakeNvmlState;

namespace {

FakeNvmlState state;
constexpr int kInsufficientSize = 7;

int result_of(const char* function) {
  const auto found = state.results.find(function);
  return found == state.results.end() ? 0 : found->second;
}
int give(const char* function, unsigned value, unsigned* out) {
  *out = value;
  return result_of(function);
}

struct Memory {
  unsigned long long total, free, used;
};
struct ProcessInfo {
  unsigned pid;
  unsigned long long used;
  unsigned gpu_instance, compute_instance;
};

}  // namespace

extern "C" {
FakeNvmlState* fake_nvml_state() { return &state; }

int nvmlInit_v2() { return result_of("init"); }
int nvmlShutdown() { return 0; }
const char* nvmlErrorString(int result) { return result == 3 ? "Not Supported" : "Unknown Error"; }
int nvmlSystemGetDriverVersion(char* text, unsigned size) {
  std::strncpy(text, "580.159.04", size);
  return 0;
}
int nvmlDeviceGetHandleByUUID(const char* uuid, void** device) {
  *device = &state;
  return uuid == state.uuid ? 0 : 6;
}
int nvmlDeviceGetPowerUsage(void*, unsigned* milliwatts) {
  ++state.num_reads;
  return give("power", state.power_mw, milliwatts);
}
int nvmlDeviceGetTotalEnergyConsumption(void*, unsigned long long* millijoules) {
  *millijoules = state.energy_mj;
  return result_of("energy");
}
int nvmlDeviceGetEnforcedPowerLimit(void*, unsigned* milliwatts) {
  return give("power_limit", 700000, milliwatts);
}
int nvmlDeviceGetMemoryInfo(void*, Memory* memory) {
  *memory = {80ULL << 30, (80ULL << 30) - state.memory_used, state.memory_used};
  return result_of("memory");
}
int nvmlDeviceGetUtilizationRates(void*, unsigned* rates) {
  rates[0] = state.utilization;
  rates[1] = 0;
  return result_of("utilization");
}
int nvmlDeviceGetClockInfo(void*, int type, unsigned* mhz) {
  return give("clock", type == 1 ? state.sm_clock : state.memory_clock, mhz);
}
int nvmlDeviceGetMaxClockInfo(void*, int type, unsigned* mhz) {
  return give("max_clock", type == 1 ? 1980 : 3201, mhz);
}
int nvmlDeviceGetTemperature(void*, int, unsigned* degrees) {
  return give("temperature", state.temperature, degrees);
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void*, unsigned long long* reasons) {
  *reasons = state.throttle;
  return result_of("throttle");
}
int nvmlDeviceGetComputeRunningProcesses_v3(void*, unsigned* count, ProcessInfo* infos) {
  const unsigned room = *count;
  *count = static_cast<unsigned>(state.processes.size());
  if (result_of("processes") != 0) return result_of("processes");
  if (*count > room) return kInsufficientSize;
  for (const auto& [pid, bytes] : state.processes) *infos++ = {pid, bytes, 0, 0};
  return 0;
}
}
