#pragma once
// What GPUs there are, and why none can be used where none can. Answers in a build without CUDA and
// on a machine without a driver, too.
#include <cstdint>
#include <string>
#include <vector>

namespace iol {

struct CudaDevice {
  int index = 0;
  std::string name;
  std::string uuid;    // "GPU-..."
  int capability = 0;  // 90 is 9.0
  std::int64_t memory_bytes = 0;
  int num_multiprocessors = 0;
  std::int64_t l2_cache_bytes = 0;
};

struct CudaStatus {
  std::vector<CudaDevice> devices;  // those that this build can use
  std::string reason;               // why there are none; empty where there are
  std::string driver;   // CUDA version that the driver supports, "13.0"; empty: no driver
  std::string runtime;  // of this build; empty: no CUDA backend
};

/// Looked up once for the process.
const CudaStatus& cuda_status();

namespace cuda {
/// Throws InputError when there is no such GPU.
const CudaDevice& usable_device(int index);
}  // namespace cuda

/// Bytes of a GPU's memory that are free now. Throws ResourceError when the device is lost.
std::int64_t cuda_free_bytes(int index);

/// What a GPU reaches at most, measured in about a second.
struct CudaLimits {
  double read_bytes_per_s = 0;
  double bf16_flops = 0;
  double f16_flops = 0;
  double int8_ops = 0;
  double fp8_flops = 0;      // 0: computed as f16
  std::string instructions;  // that the peaks are of: "mma.sync" or "wgmma"
};
CudaLimits measure_cuda_limits(int index);

/// How fast `bytes` of a GPU's memory are read, again and again: of memory, or of whatever cache
/// holds so many.
double cuda_read_bytes_per_s(int index, std::int64_t bytes);

}  // namespace iol
