// What the runtime's errors become: the ones that void the process's context are a lost device.
#include <gtest/gtest.h>

#include <cstdlib>

#include "backend/cuda/cuda_device.h"
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/cuda_support.h"
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
  } catch (const cuda::CudaOutOfMemory& error) {
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

TEST(CudaSupport, an_old_driver_is_told_from_none_and_from_a_machine_without_gpus) {
  EXPECT_EQ(cuda::why_no_device(cudaErrorInsufficientDriver, 0),
            "no NVIDIA driver on this machine");
  EXPECT_EQ(cuda::why_no_device(cudaErrorNoDevice, 13000), "no NVIDIA GPU on this machine");
  EXPECT_EQ(cuda::why_no_device(cudaErrorInsufficientDriver, 11080),
            "the NVIDIA driver supports CUDA 11.8, this build needs " +
                cuda::version_text(CUDART_VERSION) + " or later");
  EXPECT_EQ(cuda::why_no_device(cudaErrorSystemNotReady, 13000),
            std::string("CUDA: ") + cudaGetErrorString(cudaErrorSystemNotReady));
}

TEST(CudaSupport, gpus_without_binary_code_are_refused_by_name) {
  for (const int capability : {80, 86, 89, 90})
    EXPECT_EQ(cuda::why_not_this_device("a card", capability), "");
  EXPECT_EQ(cuda::why_not_this_device("Tesla T4", 75),
            "Tesla T4 has compute capability 7.5; this build runs on 8.0 to 9.0");
  EXPECT_EQ(cuda::why_not_this_device("NVIDIA B200", 100),
            "NVIDIA B200 has compute capability 10.0; this build runs on 8.0 to 9.0");
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
