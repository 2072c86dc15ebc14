#include "telemetry/gpu_monitor.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <utility>
#include <vector>

namespace iol {
namespace {

// The part of NVML's interface that is used, as its reference declares it.
using Device = void*;
using Result = int;
constexpr Result kSuccess = 0;
constexpr Result kInsufficientSize = 7;
constexpr int kClockSm = 1;
constexpr int kClockMemory = 2;
constexpr int kTemperatureGpu = 0;

struct Memory {
  unsigned long long total, free, used;
};
struct Utilization {
  unsigned gpu, memory;
};
struct ProcessInfo {
  unsigned pid;
  unsigned long long used_gpu_memory;
  unsigned gpu_instance_id, compute_instance_id;
};
constexpr unsigned long long kUnknownMemory = ~0ULL;

constexpr double kMilli = 1e-3;
constexpr const char* kProcesses = "process_memory_bytes";  // in missing()

}  // namespace

/// The library and its functions; a null function isn't in it.
struct GpuMonitor::Library {
  explicit Library(const std::string& name) : handle(::dlopen(name.c_str(), RTLD_NOW)) {
    if (handle == nullptr) return;
    find(init, "nvmlInit_v2");
    find(shutdown, "nvmlShutdown");
    find(error_string, "nvmlErrorString");
    find(driver_version, "nvmlSystemGetDriverVersion");
    find(handle_by_uuid, "nvmlDeviceGetHandleByUUID");
    find(power_usage, "nvmlDeviceGetPowerUsage");
    find(total_energy, "nvmlDeviceGetTotalEnergyConsumption");
    find(power_limit, "nvmlDeviceGetEnforcedPowerLimit");
    find(memory_info, "nvmlDeviceGetMemoryInfo");
    find(utilization, "nvmlDeviceGetUtilizationRates");
    find(clock, "nvmlDeviceGetClockInfo");
    find(max_clock, "nvmlDeviceGetMaxClockInfo");
    find(temperature, "nvmlDeviceGetTemperature");
    find(throttle_reasons, "nvmlDeviceGetCurrentClocksThrottleReasons");
    find(compute_processes, "nvmlDeviceGetComputeRunningProcesses_v3");
  }
  ~Library() {
    if (is_initialized && shutdown != nullptr) shutdown();
    if (handle != nullptr) ::dlclose(handle);
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  template <class Function>
  void find(Function*& function, const char* name) {
    function = reinterpret_cast<Function*>(::dlsym(handle, name));
  }
  [[nodiscard]] std::string text_of(Result result) const {
    if (error_string == nullptr) return fmt::format("NVML error {}", result);
    return fmt::format("NVML: {}", error_string(result));
  }

  void* handle;
  bool is_initialized = false;
  Result (*init)() = nullptr;
  Result (*shutdown)() = nullptr;
  const char* (*error_string)(Result) = nullptr;
  Result (*driver_version)(char*, unsigned) = nullptr;
  Result (*handle_by_uuid)(const char*, Device*) = nullptr;
  Result (*power_usage)(Device, unsigned*) = nullptr;             // milliwatts
  Result (*total_energy)(Device, unsigned long long*) = nullptr;  // millijoules
  Result (*power_limit)(Device, unsigned*) = nullptr;             // milliwatts
  Result (*memory_info)(Device, Memory*) = nullptr;               // bytes
  Result (*utilization)(Device, Utilization*) = nullptr;          // percent
  Result (*clock)(Device, int, unsigned*) = nullptr;              // MHz
  Result (*max_clock)(Device, int, unsigned*) = nullptr;          // MHz
  Result (*temperature)(Device, int, unsigned*) = nullptr;        // degrees Celsius
  Result (*throttle_reasons)(Device, unsigned long long*) = nullptr;
  Result (*compute_processes)(Device, unsigned*, ProcessInfo*) = nullptr;
};

GpuMonitor::GpuMonitor(const std::string& uuid, const std::string& library)
    : uuid_(uuid), unavailable_reason_(open(library)) {}

GpuMonitor::~GpuMonitor() = default;

std::string GpuMonitor::open(const std::string& library) {
  library_ = std::make_unique<Library>(library);
  if (library_->handle == nullptr)
    return fmt::format("{} can't be loaded: no NVIDIA driver, or not shown to us", library);
  if (library_->init == nullptr || library_->handle_by_uuid == nullptr)
    return fmt::format("{} is not NVML", library);
  Result result = library_->init();
  if (result != kSuccess) return library_->text_of(result);
  library_->is_initialized = true;
  result = library_->handle_by_uuid(uuid_.c_str(), &device_);
  if (result != kSuccess) return fmt::format("{} ({})", library_->text_of(result), uuid_);
  return {};
}

template <class Number, class Function, class... Arguments>
std::optional<Number> GpuMonitor::ask(const char* field, Function function,
                                      Arguments... arguments) {
  if (function == nullptr) {
    missing_[field] = "the driver's NVML doesn't offer it";
    return std::nullopt;
  }
  Number number{};
  const Result result = function(device_, arguments..., &number);
  if (result == kSuccess) return number;
  missing_[field] = library_->text_of(result);
  return std::nullopt;
}

std::vector<GpuProcess> GpuMonitor::processes() {
  constexpr unsigned kSpare = 8;  // processes that come between the two calls
  if (!unavailable_reason_.empty()) return {};
  missing_.erase(kProcesses);
  if (library_->compute_processes == nullptr) {
    missing_[kProcesses] = "the driver's NVML doesn't offer it";
    return {};
  }
  unsigned count = 0;
  Result result = library_->compute_processes(device_, &count, nullptr);
  std::vector<ProcessInfo> infos(count + kSpare);
  if (result == kInsufficientSize || result == kSuccess) {
    count = static_cast<unsigned>(infos.size());
    result = library_->compute_processes(device_, &count, infos.data());
  }
  infos.resize(result == kSuccess ? count : 0);
  if (result != kSuccess) missing_[kProcesses] = library_->text_of(result);
  std::vector<GpuProcess> processes;
  for (const ProcessInfo& info : infos) {
    if (info.used_gpu_memory == kUnknownMemory) continue;
    processes.push_back(
        {static_cast<pid_t>(info.pid), static_cast<std::int64_t>(info.used_gpu_memory)});
  }
  return processes;
}

std::optional<std::int64_t> GpuMonitor::process_memory(pid_t process) {
  for (const GpuProcess& each : processes()) {
    if (each.process == process) return each.memory_bytes;
  }
  missing_.emplace(kProcesses, "NVML doesn't show the process's memory (a container?)");
  return std::nullopt;
}

GpuReading GpuMonitor::read(pid_t process) {
  GpuReading reading;
  if (!unavailable_reason_.empty()) return reading;
  missing_.clear();
  const auto whole = [](std::optional<unsigned> number) {
    return number ? std::optional(static_cast<int>(*number)) : std::nullopt;
  };
  if (const auto power = ask<unsigned>("power_w", library_->power_usage))
    reading.power_w = *power * kMilli;
  if (const auto energy = ask<unsigned long long>("energy_joules", library_->total_energy))
    reading.energy_joules = static_cast<double>(*energy) * kMilli;
  if (const auto memory = ask<Memory>("memory_used_bytes", library_->memory_info))
    reading.memory_used_bytes = static_cast<std::int64_t>(memory->used);
  reading.process_memory_bytes = process_memory(process);
  if (const auto rates = ask<Utilization>("utilization_pct", library_->utilization))
    reading.utilization_pct = static_cast<int>(rates->gpu);
  reading.sm_clock_mhz = whole(ask<unsigned>("sm_clock_mhz", library_->clock, kClockSm));
  reading.memory_clock_mhz =
      whole(ask<unsigned>("memory_clock_mhz", library_->clock, kClockMemory));
  reading.temperature_c =
      whole(ask<unsigned>("temperature_c", library_->temperature, kTemperatureGpu));
  reading.throttle_reasons =
      ask<unsigned long long>("throttle_reasons", library_->throttle_reasons);
  return reading;
}

GpuFacts GpuMonitor::facts() {
  GpuFacts facts;
  if (!unavailable_reason_.empty()) return facts;
  missing_.clear();
  std::array<char, 96> version{};
  if (library_->driver_version != nullptr &&
      library_->driver_version(version.data(), static_cast<unsigned>(version.size())) == kSuccess)
    facts.driver_version = version.data();
  if (const auto limit = ask<unsigned>("power_limit_w", library_->power_limit))
    facts.power_limit_w = *limit * kMilli;
  if (const auto clock = ask<unsigned>("max_sm_clock_mhz", library_->max_clock, kClockSm))
    facts.max_sm_clock_mhz = static_cast<int>(*clock);
  if (const auto clock = ask<unsigned>("max_memory_clock_mhz", library_->max_clock, kClockMemory))
    facts.max_memory_clock_mhz = static_cast<int>(*clock);
  return facts;
}

std::string throttle_text(std::uint64_t reasons) {
  constexpr std::array<std::pair<std::uint64_t, const char*>, 6> kNames = {{
      {0x04, "power cap"},
      {0x08, "hardware slowdown"},
      {0x10, "clocks kept equal to another GPU's"},
      {0x20, "heat"},
      {0x40, "heat, by hardware"},
      {0x80, "power brake"},
  }};
  std::string text;
  for (const auto& [bit, name] : kNames) {
    if ((reasons & bit) == 0) continue;
    if (!text.empty()) text += ", ";
    text += name;
  }
  return text;
}

}  // namespace iol
