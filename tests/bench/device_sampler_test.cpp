#include "bench/device_sampler.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/clock.h"
#include "base/huge_buffer.h"
#include "bench/canary.h"
#include "bench/process_status.h"
#include "tests/telemetry/fake_nvml.h"

namespace iol::bench {
namespace {

class Rapl : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / ("rapl_" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void set(const std::string& zone, std::int64_t microjoules, std::int64_t range = 1'000'000'000) {
    std::filesystem::create_directories(folder_ / zone);
    std::ofstream(folder_ / zone / "energy_uj") << microjoules << "\n";
    std::ofstream(folder_ / zone / "max_energy_range_uj") << range << "\n";
  }

  std::filesystem::path folder_;
};

TEST_F(Rapl, sums_packages_and_leaves_out_their_parts) {
  set("intel-rapl:0", 1'000'000);
  set("intel-rapl:1", 5'000'000);
  set("intel-rapl:0:0", 900'000);
  set("intel-rapl-mmio:0", 7);
  std::filesystem::create_directories(folder_ / "intel-rapl");
  PackageEnergy energy(folder_);
  EXPECT_TRUE(energy.unavailable_reason().empty());
  EXPECT_EQ(energy.joules(), 0);
  set("intel-rapl:0", 3'000'000);
  set("intel-rapl:1", 5'500'000);
  set("intel-rapl:0:0", 999'000'000);
  EXPECT_DOUBLE_EQ(*energy.joules(), 2.5);
}

TEST_F(Rapl, a_counter_that_starts_again_keeps_counting) {
  set("intel-rapl:0", 900, 1000);
  PackageEnergy energy(folder_);
  set("intel-rapl:0", 100, 1000);
  EXPECT_DOUBLE_EQ(*energy.joules(), 200e-6);
}

TEST_F(Rapl, that_is_missing_has_a_reason_and_no_value) {
  for (const auto& folder : {folder_, folder_ / "nowhere"}) {
    PackageEnergy energy(folder);
    EXPECT_FALSE(energy.joules().has_value());
    EXPECT_FALSE(energy.unavailable_reason().empty());
  }
  std::filesystem::create_directories(folder_ / "intel-rapl:0");  // without a readable counter
  EXPECT_EQ(PackageEnergy(folder_).unavailable_reason(),
            "RAPL's energy_uj can't be read without privileges");
}

TEST(DeviceSampler, samples_in_order_while_it_lives_and_once_more_at_the_end) {
  PackageEnergy energy("/nowhere");
  const auto start_ns = now_ns();
  DeviceSampler sampler(0, energy, nullptr);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_FALSE(sampler.latest_power_w().has_value());
  const auto samples = sampler.take();
  ASSERT_GE(samples.size(), 2);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    EXPECT_GT(samples[i].t_ns, i == 0 ? start_ns : samples[i - 1].t_ns);
    EXPECT_GT(samples[i].memory_used_bytes.value_or(0), 0);
    EXPECT_FALSE(samples[i].power_w.has_value());
  }
  EXPECT_GE(samples.back().t_ns, start_ns + 200'000'000);
}

TEST(DeviceSampler, of_a_process_that_is_gone_has_no_memory) {
  PackageEnergy energy("/nowhere");
  DeviceSampler sampler(0x3fffffff, energy, nullptr);
  const auto samples = sampler.take();
  ASSERT_FALSE(samples.empty());
  EXPECT_FALSE(samples.back().memory_used_bytes.has_value());
}

TEST(DeviceSampler, reads_the_gpu_with_every_sample) {
  test::fake_nvml() = test::FakeNvmlState();
  test::fake_nvml().processes[static_cast<unsigned>(::getpid())] = 1'000'000;
  PackageEnergy energy("/nowhere");
  GpuMonitor gpu(test::fake_nvml().uuid, IOL_FAKE_NVML);
  DeviceSampler sampler(::getpid(), energy, &gpu);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(sampler.latest_power_w(), 312.5);
  const auto samples = sampler.take();
  ASSERT_GE(samples.size(), 3);  // 10 Hz or faster
  for (const auto& sample : samples) {
    ASSERT_TRUE(sample.gpu.has_value());
    EXPECT_EQ(sample.gpu->power_w, 312.5);
    EXPECT_EQ(sample.gpu->process_memory_bytes, 1'000'000);
  }
}

TEST(ProcessStatus, sees_memory_grow_by_what_was_touched) {
  constexpr std::int64_t kBytes = std::int64_t{64} << 20;
  const auto before = read_process_status(0);
  HugeBuffer buffer(static_cast<std::size_t>(kBytes));
  for (std::size_t i = 0; i < buffer.size_bytes(); i += 4096) buffer.as<char>()[i] = 1;
  const auto after = read_process_status(0);
  const auto grown = *after.resident_bytes - *before.resident_bytes;
  EXPECT_NEAR(static_cast<double>(grown), static_cast<double>(kBytes), 8 << 20);
  EXPECT_NEAR(static_cast<double>(*after.anonymous_bytes - *before.anonymous_bytes),
              static_cast<double>(kBytes), 8 << 20);
  EXPECT_GE(*after.peak_resident_bytes, *after.resident_bytes);
}

TEST(ProcessStatus, counts_processor_time) {
  const double before = *read_process_status(0).processor_seconds;
  const auto start_ns = now_ns();
  volatile std::uint64_t sink = 0;
  while (*read_process_status(0).processor_seconds < before + 0.05) sink = sink + 1;
  EXPECT_GE(now_ns() - start_ns, 20'000'000);  // ticks are 10 ms: no less than this can have passed
}

TEST(MemoryCanary, reads_a_plausible_bandwidth_from_more_than_the_cache) {
  MemoryCanary canary(2);
  EXPECT_GE(canary.buffer_bytes(), 4 * last_level_cache_bytes());
  const double bytes_per_s = canary.read_bytes_per_s();
  EXPECT_GT(bytes_per_s, 1e8);   // a slow machine under sanitizers
  EXPECT_LT(bytes_per_s, 1e13);  // no processor reads its memory this fast
}

}  // namespace
}  // namespace iol::bench
