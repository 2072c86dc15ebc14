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

/// The counter at `t_ns`: on the line through the samples on both sides, at an edge the two
/// nearest.
std::optional<double> counter_at(std::span<const SamplePoint> samples, std::int64_t t_ns) {
  if (samples.size() < 2) return std::nullopt;
  const auto after =
      std::lower_bound(samples.begin() + 1, samples.end() - 1, t_ns,
                       [](const SamplePoint& a, std::int64_t t) { return a.t_ns < t; });
  const SamplePoint& before = *(after - 1);
  const double share =
      static_cast<double>(t_ns - before.t_ns) / static_cast<double>(after->t_ns - before.t_ns);
  return before.value + share * (after->value - before.value);
}

/// Joules by the counters, summed over devices and runs; nothing where one can't be read.
std::optional<double> counted_joules(const Records& records, std::span<const Run* const> runs) {
  std::map<std::string, std::vector<SamplePoint>> by_device;
  for (const DeviceSample& sample : records.device_samples) {
    if (belongs_to(sample, runs.front()->key.subject) && sample.energy_joules)
      by_device[sample.device].push_back({sample.t_ns, *sample.energy_joules});
  }
  if (by_device.empty()) return std::nullopt;
  double joules = 0;
  for (auto& [device, samples] : by_device) {
    std::sort(samples.begin(), samples.end(),
              [](const SamplePoint& a, const SamplePoint& b) { return a.t_ns < b.t_ns; });
    for (const Run* run : runs) {
      if (run->end_ns == run->begin_ns) continue;
      const auto begin = counter_at(samples, run->begin_ns);
      const auto end = counter_at(samples, run->end_ns);
      if (!begin || !end) return std::nullopt;
      joules += *end - *begin;
    }
  }
  return joules;
}

/// Highest value per device over the windows, summed over devices.
std::optional<double> peak(const Records& records, std::span<const Run* const> runs,
                           std::optional<double> DeviceSample::*field) {
  const bool on_gpu = has_gpu_samples(records);
  std::map<std::string, double> by_device;
  for (const DeviceSample& sample : records.device_samples) {
    const auto& value = sample.*field;
    if (!value || (on_gpu && sample.device == kHostDevice)) continue;
    const bool counts = std::any_of(runs.begin(), runs.end(),
                                    [&](const Run* run) { return falls_into(sample, *run); });
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

bool has_gpu_samples(const Records& records) {
  return std::any_of(records.device_samples.begin(), records.device_samples.end(),
                     [](const DeviceSample& sample) { return sample.device != kHostDevice; });
}

bool falls_into(const DeviceSample& sample, const Run& run) {
  return belongs_to(sample, run.key.subject) && run.begin_ns <= sample.t_ns &&
         sample.t_ns <= run.end_ns;
}

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
  resources.counted_joules = counted_joules(records, runs);
  return resources;
}

}  // namespace iol::report
