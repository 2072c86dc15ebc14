// What the runtime's errors become: the ones that void the process's context are a lost device.
#include <gtest/gtest.h>

#include <cstdlib>

#include "backend/cuda/cuda_device.h"
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernels/kernels.h"

namespace iol::test {
namespace {

TEST(CudaErrorKinds, memory_that_is_short_loses_no_device) {
  try {
    cuda::check(cudaErrorMemoryAllocation, "taking 1 GB");
    FAIL() << "an error passed";
  } catch (const DeviceError&) {
    FAIL() << "it was taken for a lost device";
  } catch (const ResourceError& error) {
    EXPECT_EQ(std::string(error.what()).rfind("CUDA: taking 1 GB failed: ", 0), 0U);
  }
}

TEST(CudaErrorKinds, errors_that_stay_lose_the_device) {
  for (const auto status : {cudaErrorIllegalAddress, cudaErrorLaunchFailure,
                            cudaErrorECCUncorrectable, cudaErrorDevicesUnavailable}) {
    EXPECT_THROW(cuda::check(status, "a step"), DeviceError) << cudaGetErrorName(status);
  }
  EXPECT_NO_THROW(cuda::check(cudaSuccess, "a step"));
}

/// Exits with 0 when the runtime says what is expected of it: once a kernel has gone astray nothing
/// works any more, and both are DeviceErrors.
[[noreturn]] void go_astray() {
  int num_lost = 0;
  const auto count_lost = [&](const auto& call) {
    try {
      call();
    } catch (const DeviceError&) {
      ++num_lost;
    }
  };
  cuda::Stream stream;
  cuda::DeviceBuffer sink(64, "a sink");
  constexpr std::uintptr_t kWild = 1 << 12;
  count_lost([&] {
    cuda::read_all(reinterpret_cast<const void*>(kWild), 1 << 20, sink.as<unsigned>(),
                   stream.get());
    stream.synchronize("reading");
  });
  count_lost([&] { stream.synchronize("waiting once more"); });
  std::_Exit(num_lost == 2 ? 0 : 1);
}

TEST(CudaErrorKinds, a_kernel_that_goes_astray_loses_the_device) {
  if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a process of its own, which it spoils
  EXPECT_EXIT(go_astray(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace iol::test
