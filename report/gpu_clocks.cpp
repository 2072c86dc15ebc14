#include "report/gpu_clocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <span>
#include <string_view>

#include "report/format.h"
#include "report/headline.h"
#include "report/resources.h"

namespace iol::report {
namespace {

// What the card does by itself at its power limit; anything else is a fault of its surroundings.
constexpr std::string_view kPowerCap = "power cap";

struct Clocks {
  std::vector<double> mhz;  // of each sample
  std::int64_t slowed = 0;  // samples
  std::set<std::string> reasons;
};

Clocks clocks_of(const RunReport& report, std::span<const Run> runs, std::string_view subject) {
  Clocks clocks;
  for (const DeviceSample& sample : report.records.device_samples) {
    if (sample.device == kHostDevice || !sample.sm_clock_mhz) continue;
    const bool counts = std::any_of(runs.begin(), runs.end(), [&](const Run& run) {
      return run.key.subject == subject && falls_into(sample, run);
    });
    if (!counts) continue;
    clocks.mhz.push_back(*sample.sm_clock_mhz);
    if (sample.throttle_reasons.empty()) continue;
    ++clocks.slowed;
    clocks.reasons.insert(sample.throttle_reasons);
  }
  std::sort(clocks.mhz.begin(), clocks.mhz.end());
  return clocks;
}

std::string joined(const std::set<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : ", ") + text;
  return all;
}

}  // namespace

void add_gpu_clocks(std::vector<Finding>& findings, const RunReport& report) {
  const std::vector<Run> runs = group_runs(report.records);
  const Json device = report.records.environment.fields.value("device", Json::object());
  const auto number = [&](const char* name) {
    const auto found = device.find(name);
    return found != device.end() && found->is_number() ? found->get<double>() : 0;
  };
  const double most_mhz = number("max_sm_clock_mhz");
  const double power_limit_w = number("power_limit_w");
  const std::string of_most = most_mhz > 0 ? fmt::format(" of at most {:.0f}", most_mhz) : "";
  for (const SubjectRecord& subject : report.records.subjects) {
    const Clocks clocks = clocks_of(report, runs, subject.name);
    if (clocks.mhz.empty()) continue;
    const double median = clocks.mhz[clocks.mhz.size() / 2];
    const std::string& label = label_of(report, subject.name);
    if (clocks.slowed == 0) {
      findings.push_back({Level::kOk, "GPU clock",
                          fmt::format("{} ran at {:.0f} MHz{} (median of {} samples); nothing "
                                      "slowed the GPU down.",
                                      label, median, of_most, format_count(clocks.mhz.size()))});
      continue;
    }
    const bool is_cap = clocks.reasons == std::set<std::string>{std::string(kPowerCap)};
    const double share =
        static_cast<double>(clocks.slowed) / static_cast<double>(clocks.mhz.size());
    std::string reason = joined(clocks.reasons);
    if (is_cap && power_limit_w > 0) reason += fmt::format(" of {:.0f} W", power_limit_w);
    findings.push_back(
        {is_cap ? Level::kNote : Level::kWarning, "GPU clock",
         fmt::format("The GPU was slowed down in {} of the samples of {} ({}): {:.0f} MHz{} at the "
                     "median, {:.0f} at the least. Limits were measured in short bursts, which "
                     "nothing slows down.",
                     format_percent(share), label, reason, median, of_most, clocks.mhz.front())});
  }
}

}  // namespace iol::report
