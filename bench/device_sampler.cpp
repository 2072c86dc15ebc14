#include "bench/device_sampler.h"

#include <chrono>
#include <fstream>
#include <utility>

#include "base/clock.h"
#include "bench/process_status.h"

namespace iol::bench {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(50);

std::optional<std::int64_t> read_integer(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::int64_t value = 0;
  if (!(file >> value)) return std::nullopt;
  return value;
}

/// "intel-rapl:0" is a package; "intel-rapl:0:1" is a part of one and already counted in it.
bool is_package(const std::string& name) {
  const auto colon = name.find(':');
  return colon != std::string::npos && name.find(':', colon + 1) == std::string::npos &&
         name.find("rapl") != std::string::npos && !name.starts_with("intel-rapl-mmio");
}

}  // namespace

PackageEnergy::PackageEnergy(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::directory_iterator entries(folder, error);
  if (error) {
    unavailable_reason_ = "no " + folder.string() + ": no RAPL on this machine or not shown to us";
    return;
  }
  bool found = false;
  for (const auto& entry : entries) {
    if (!is_package(entry.path().filename().string())) continue;
    found = true;
    const auto counter = entry.path() / "energy_uj";
    const auto value = read_integer(counter);
    if (!value) continue;
    const auto range = read_integer(entry.path() / "max_energy_range_uj");
    packages_.push_back({counter, range.value_or(0), *value, 0});
  }
  if (!packages_.empty()) return;
  unavailable_reason_ = found ? "RAPL's energy_uj can't be read without privileges"
                              : "no RAPL package under " + folder.string();
}

std::optional<double> PackageEnergy::joules() {
  if (packages_.empty()) return std::nullopt;
  double total = 0;
  for (auto& package : packages_) {
    const auto value = read_integer(package.counter);
    if (!value) return std::nullopt;
    std::int64_t delta = *value - package.last_microjoules;
    if (delta < 0) delta += package.range_microjoules;
    package.last_microjoules = *value;
    if (delta > 0) package.total_joules += static_cast<double>(delta) * 1e-6;
    total += package.total_joules;
  }
  return total;
}

DeviceSampler::DeviceSampler(std::optional<pid_t> process_id, PackageEnergy& energy,
                             GpuMonitor* gpu)
    : process_id_(process_id), energy_(energy), gpu_(gpu) {
  thread_ = std::thread([this] { loop(); });
}

DeviceSampler::~DeviceSampler() { take(); }

std::vector<DeviceSample> DeviceSampler::take() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  return std::exchange(samples_, {});
}

std::optional<double> DeviceSampler::latest_power_w() {
  const std::lock_guard lock(mutex_);
  return latest_power_w_;
}

void DeviceSampler::sample() {
  DeviceSample sample;
  if (process_id_) sample.memory_used_bytes = read_process_status(*process_id_).resident_bytes;
  const auto joules = energy_.joules();
  sample.t_ns = now_ns();
  const auto elapsed_ns = sample.t_ns - last_ns_;
  if (joules && last_joules_ && elapsed_ns > 0) {
    sample.power_w = (*joules - *last_joules_) * 1e9 / static_cast<double>(elapsed_ns);
  }
  if (gpu_ != nullptr) sample.gpu = gpu_->read(process_id_.value_or(0));
  {
    const std::lock_guard lock(mutex_);
    latest_power_w_ = sample.gpu ? sample.gpu->power_w : sample.power_w;
  }
  last_joules_ = joules;
  last_ns_ = sample.t_ns;
  samples_.push_back(sample);
}

void DeviceSampler::loop() {
  sample();  // without a power of the host, which is a mean since the sample before
  std::unique_lock lock(mutex_);
  while (true) {
    const bool last = wake_.wait_for(lock, kInterval, [&] { return stopping_; });
    lock.unlock();
    sample();
    lock.lock();
    if (last) return;
  }
}

}  // namespace iol::bench
