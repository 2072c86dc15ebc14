#pragma once
// What an NVIDIA GPU does right now, from NVML, the driver's management library. It is loaded at
// run time: without a driver the program runs as well, and says why there are no readings.
//
// Source: NVIDIA, "NVML API Reference Guide".
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace iol {

inline constexpr const char* kNvmlLibrary = "libnvidia-ml.so.1";

/// One moment. What can't be read is absent, and GpuMonitor::missing() says why.
struct GpuReading {
  std::optional<double> power_w;        // averaged by the driver, over a second on recent cards
  std::optional<double> energy_joules;  // since the driver was loaded
  std::optional<std::int64_t> memory_used_bytes;     // by everybody
  std::optional<std::int64_t> process_memory_bytes;  // by the process asked for
  std::optional<int> utilization_pct;  // share of the last sampling period with a kernel running
  std::optional<int> sm_clock_mhz;
  std::optional<int> memory_clock_mhz;
  std::optional<int> temperature_c;
  std::optional<std::uint64_t> throttle_reasons;  // bits, see throttle_text()
};

/// A process with work on a GPU.
struct GpuProcess {
  pid_t process = 0;
  std::int64_t memory_bytes = 0;
};

/// What doesn't change while a GPU works.
struct GpuFacts {
  std::optional<std::string> driver_version;
  std::optional<double> power_limit_w;  // in force
  std::optional<int> max_sm_clock_mhz;
  std::optional<int> max_memory_clock_mhz;
};

/// Reads one GPU. One thread uses it at a time.
class GpuMonitor {
 public:
  /// `uuid` as CUDA and NVML write it, "GPU-...". Never throws: where the library or the GPU isn't
  /// there, nothing can be read.
  explicit GpuMonitor(const std::string& uuid, const std::string& library = kNvmlLibrary);
  ~GpuMonitor();
  GpuMonitor(const GpuMonitor&) = delete;
  GpuMonitor& operator=(const GpuMonitor&) = delete;

  [[nodiscard]] const std::string& uuid() const { return uuid_; }
  /// `process` is the one whose memory is wanted.
  GpuReading read(pid_t process);
  GpuFacts facts();
  /// Those whose memory the driver shows, which in a container may be none.
  std::vector<GpuProcess> processes();

  /// Why nothing at all can be read; empty when something can.
  [[nodiscard]] const std::string& unavailable_reason() const { return unavailable_reason_; }
  /// Why what was absent in the last read() or facts() was: field -> reason.
  [[nodiscard]] const std::map<std::string, std::string>& missing() const { return missing_; }

 private:
  struct Library;

  /// Loads the library and finds the GPU; returns why it couldn't.
  std::string open(const std::string& library);
  /// The number that `function` gives; nothing, with a reason for `field`, when it fails.
  template <class Number, class Function, class... Arguments>
  std::optional<Number> ask(const char* field, Function function, Arguments... arguments);
  std::optional<std::int64_t> process_memory(pid_t process);

  std::string uuid_;
  std::unique_ptr<Library> library_;
  void* device_ = nullptr;
  std::string unavailable_reason_;
  std::map<std::string, std::string> missing_;
};

/// "power cap, heat" for bits of NVML's clocks throttle reasons; empty for none. Idleness and
/// clocks that somebody set are no throttling.
std::string throttle_text(std::uint64_t reasons);

}  // namespace iol
