#include "telemetry/gpu_monitor.h"

#include <gtest/gtest.h>

#include "tests/telemetry/fake_nvml.h"

namespace iol::test {
namespace {

constexpr int kNotSupported = 3;
constexpr int kNoPermission = 4;

class GpuMonitorTest : public testing::Test {
 protected:
  void SetUp() override { fake_nvml() = FakeNvmlState(); }
  void TearDown() override { fake_nvml() = FakeNvmlState(); }
};

TEST_F(GpuMonitorTest, readings_come_in_our_units) {
  fake_nvml().processes = {{41, 3ULL << 30}, {42, 5ULL << 30}};
  GpuMonitor monitor(fake_nvml().uuid, IOL_FAKE_NVML);
  ASSERT_EQ(monitor.unavailable_reason(), "");
  const GpuReading reading = monitor.read(42);
  EXPECT_DOUBLE_EQ(reading.power_w.value(), 312.5);
  EXPECT_DOUBLE_EQ(reading.energy_joules.value(), 5000.0);
  EXPECT_EQ(reading.memory_used_bytes, std::int64_t{20} << 30);
  EXPECT_EQ(reading.process_memory_bytes, std::int64_t{5} << 30);
  EXPECT_EQ(reading.utilization_pct, 87);
  EXPECT_EQ(reading.sm_clock_mhz, 1755);
  EXPECT_EQ(reading.memory_clock_mhz, 3201);
  EXPECT_EQ(reading.temperature_c, 61);
  EXPECT_EQ(throttle_text(reading.throttle_reasons.value()), "power cap");
  EXPECT_TRUE(monitor.missing().empty());
}

TEST_F(GpuMonitorTest, facts_name_the_driver_its_limit_and_clocks) {
  GpuMonitor monitor(fake_nvml().uuid, IOL_FAKE_NVML);
  const GpuFacts facts = monitor.facts();
  EXPECT_EQ(facts.driver_version, "580.159.04");
  EXPECT_DOUBLE_EQ(facts.power_limit_w.value(), 700.0);
  EXPECT_EQ(facts.max_sm_clock_mhz, 1980);
  EXPECT_EQ(facts.max_memory_clock_mhz, 3201);
}

TEST_F(GpuMonitorTest, what_fails_is_absent_with_its_reason_and_never_zero) {
  fake_nvml().results = {{"power", kNotSupported}, {"temperature", kNoPermission}};
  GpuMonitor monitor(fake_nvml().uuid, IOL_FAKE_NVML);
  const GpuReading reading = monitor.read(42);
  EXPECT_FALSE(reading.power_w);
  EXPECT_FALSE(reading.temperature_c);
  EXPECT_TRUE(reading.energy_joules);
  EXPECT_EQ(monitor.missing().at("power_w"), "NVML: Not Supported");
  EXPECT_EQ(monitor.missing().at("temperature_c"), "NVML: Unknown Error");
  EXPECT_FALSE(reading.process_memory_bytes);  // 42 isn't among the card's processes
  EXPECT_NE(monitor.missing().at("process_memory_bytes").find("process"), std::string::npos);
}

TEST_F(GpuMonitorTest, many_processes_fit) {
  for (unsigned pid = 1; pid <= 100; ++pid) fake_nvml().processes[pid] = pid;
  GpuMonitor monitor(fake_nvml().uuid, IOL_FAKE_NVML);
  EXPECT_EQ(monitor.read(77).process_memory_bytes, 77);
}

TEST_F(GpuMonitorTest, unknown_process_memory_is_absent) {
  fake_nvml().processes[5] = ~0ULL;  // NVML_VALUE_NOT_AVAILABLE
  GpuMonitor monitor(fake_nvml().uuid, IOL_FAKE_NVML);
  EXPECT_FALSE(monitor.read(5).process_memory_bytes);
}

TEST_F(GpuMonitorTest, without_the_library_nothing_can_be_read) {
  GpuMonitor monitor(fake_nvml().uuid, "libnot-there.so.1");
  EXPECT_NE(monitor.unavailable_reason().find("libnot-there.so.1"), std::string::npos);
  EXPECT_FALSE(monitor.read(1).power_w);
  EXPECT_FALSE(monitor.facts().driver_version);
}

TEST_F(GpuMonitorTest, a_library_that_is_not_nvml_is_refused) {
  GpuMonitor monitor(fake_nvml().uuid, "libm.so.6");
  EXPECT_EQ(monitor.unavailable_reason(), "libm.so.6 is not NVML");
}

TEST_F(GpuMonitorTest, an_unknown_gpu_or_a_failed_start_is_named) {
  GpuMonitor unknown("GPU-0", IOL_FAKE_NVML);
  EXPECT_NE(unknown.unavailable_reason().find("GPU-0"), std::string::npos);
  fake_nvml().results["init"] = kNotSupported;
  GpuMonitor failed(fake_nvml().uuid, IOL_FAKE_NVML);
  EXPECT_EQ(failed.unavailable_reason(), "NVML: Not Supported");
}

TEST(ThrottleTextTest, names_what_slows_a_gpu_and_nothing_else) {
  EXPECT_EQ(throttle_text(0), "");
  EXPECT_EQ(throttle_text(0x1), "");  // idle
  EXPECT_EQ(throttle_text(0x24), "power cap, heat");
}

}  // namespace
}  // namespace iol::test
