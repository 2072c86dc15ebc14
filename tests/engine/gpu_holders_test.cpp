#include "engine/gpu_holders.h"

#include <gtest/gtest.h>

namespace iol::test {
namespace {

constexpr pid_t kSelf = 10;
constexpr std::int64_t kGigabyte = 1'000'000'000;

TEST(GpuHolders, others_are_named_the_largest_first) {
  const GpuProcess processes[] = {
      {3, 2 * kGigabyte}, {kSelf, 9 * kGigabyte}, {4, 70 * kGigabyte}, {5, 1}, {6, kGigabyte}};
  EXPECT_EQ(holders_text(processes, kSelf, 82 * kGigabyte),
            " (process 4 holds 70.00 GB, process 3 holds 2.00 GB, process 6 holds 1.00 GB)");
}

TEST(GpuHolders, whoever_has_the_gpu_alone_is_told_nothing) {
  const GpuProcess processes[] = {{kSelf, kGigabyte}};
  EXPECT_EQ(holders_text(processes, kSelf, kGigabyte), "");
}

TEST(GpuHolders, numbers_of_another_namespace_are_not_said) {
  const GpuProcess processes[] = {{30412, 70 * kGigabyte}};
  EXPECT_EQ(holders_text(processes, kSelf, 71 * kGigabyte),
            " (71.00 GB are in use; the driver doesn't show by whom)");
  EXPECT_EQ(holders_text({}, kSelf, std::nullopt), "");
}

}  // namespace
}  // namespace iol::test
