#include "report/resources.h"

#include <algorithm>
#include <map>
#include <vector>

namespace iol::report {
namespace {

constexpr std::int64_t kMaxGapNs = 3'000'000'000;

bool belongs_to(const DeviceSample& sample, std::string_view subject) {
  return !sample.subject || *sample.subject == subject;
}

bool inside(const DeviceSample& sample, const Run& run) {
  return run.begin_ns <= sample.t_ns && sample.t_ns <= run.end_ns;
}

/// Highest value per device over the windows, summed over devices.
std::optional<double> peak(const Records& records, std::span<const Run* const> runs,
                           std::optional<double> DeviceSample::*field) {
  std::map<std::string, double> by_device;
  for (const DeviceSample& sample : records.device_samples) {
    const auto& value = sample.*field;
    if (!value || !belongs_to(sample, runs.front()->key.subject)) continue;
    const bool counts =
        std::any_of(runs.begin(), runs.end(), [&](const Run* run) { return inside(sample, *run); });
    if (!counts) continue;
    const auto [entry, is_new] = by_device.emplace(sample.device, *value);
    if (!is_new) entry->second = std::max(entry->second, *value);
  }
  if (by_device.empty()) return std::nullopt;
  double sum = 0;
  for (const auto& [device, value] : by_device) sum += value;
  return sum;
}

void add_energy(Resources& resources, const Records& records, std::span<const Run* const> runs) {
  std::map<std::string, std::vector<SamplePoint>> power_by_device;
  for (const DeviceSample& sample : records.device_samples) {
    if (!sample.power_w || !belongs_to(sample, runs.front()->key.subject)) continue;
    power_by_device[sample.device].push_back({sample.t_ns, *sample.power_w});
  }
  if (power_by_device.empty()) {
    resources.power_missing_because = "no power reading on this machine";
    return;
  }
  double joules = 0;
  double seconds = 0;
  for (auto& [device, samples] : power_by_device) {
    std::sort(samples.begin(), samples.end(),
              [](const SamplePoint& a, const SamplePoint& b) { return a.t_ns < b.t_ns; });
    for (const Run* run : runs) {
      if (run->end_ns == run->begin_ns) continue;  // nothing succeeded
      const auto energy = integrate(samples, run->begin_ns, run->end_ns, kMaxGapNs);
      if (!energy) {
        resources.power_missing_because =
            "the power samples of " + device + " have a gap over 3 s inside a run";
        return;
      }
      joules += *energy;
    }
  }
  for (const Run* run : runs) seconds += run->duration_s();
  if (seconds <= 0) return;
  resources.energy_joules = joules;
  resources.power_mean_w = joules / seconds;
}

}  // namespace

Resources measure_resources(const Records& records, std::span<const Run* const> runs) {
  Resources resources;
  if (runs.empty()) return resources;
  resources.memory_peak_bytes = peak(records, runs, &DeviceSample::memory_used_bytes);
  resources.memory_reserved_bytes = peak(records, runs, &DeviceSample::memory_reserved_bytes);
  if (!resources.memory_reserved_bytes) {
    const SubjectRecord* subject = records.find_subject(runs.front()->key.subject);
    resources.memory_reserved_bytes = subject->memory_reserved_bytes;
  }
  add_energy(resources, records, runs);
  return resources;
}

}  // namespace iol::report
