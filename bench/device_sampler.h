#pragma once
// Samples the memory of the subject's process, the machine's power and the GPU's state on a thread
// of its own.
#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "telemetry/gpu_monitor.h"

namespace iol::bench {

struct DeviceSample {
  std::int64_t t_ns = 0;
  std::optional<std::int64_t> memory_used_bytes;  // resident set of the process
  std::optional<double> power_w;                  // mean since the sample before
  std::optional<GpuReading> gpu;                  // when one is watched
};

/// Reads the energy counters of the processor packages (RAPL, /sys/class/powercap).
class PackageEnergy {
 public:
  explicit PackageEnergy(const std::filesystem::path& folder = "/sys/class/powercap");
  /// Joules since some moment, summed over packages and never decreasing; nothing when unreadable.
  std::optional<double> joules();
  /// Why joules() has nothing; empty when it has.
  [[nodiscard]] const std::string& unavailable_reason() const { return unavailable_reason_; }

 private:
  struct Package {
    std::filesystem::path counter;
    std::int64_t range_microjoules = 0;  // the counter starts again from 0 past this
    std::int64_t last_microjoules = 0;
    double total_joules = 0;
  };
  std::vector<Package> packages_;
  std::string unavailable_reason_;
};

/// Samples from construction to take(), about 20 times a second, and once at the end.
class DeviceSampler {
 public:
  /// Without a process its memory is not known; `gpu` may be null.
  DeviceSampler(std::optional<pid_t> process_id, PackageEnergy& energy, GpuMonitor* gpu);
  ~DeviceSampler();
  DeviceSampler(const DeviceSampler&) = delete;
  DeviceSampler& operator=(const DeviceSampler&) = delete;

  /// What was drawn last, the GPU's if one is watched; nothing where no power can be read.
  std::optional<double> latest_power_w();
  /// Stops and returns the samples in order of time.
  std::vector<DeviceSample> take();

 private:
  void sample();
  void loop();

  std::optional<pid_t> process_id_;
  PackageEnergy& energy_;
  GpuMonitor* gpu_;
  std::optional<double> last_joules_;
  std::int64_t last_ns_ = 0;
  std::vector<DeviceSample> samples_;
  std::optional<double> latest_power_w_;  // under mutex_
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace iol::bench
