// A build without CUDA (IOL_CUDA=OFF): says so.
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/cuda_device.h"
#include "base/error.h"

namespace iol {

const CudaStatus& cuda_status() {
  static const CudaStatus status = {{}, "this build has no CUDA backend", "", ""};
  return status;
}

std::int64_t cuda_free_bytes(int) { throw_resource_error("{}", cuda_status().reason); }

CudaLimits measure_cuda_limits(int) { throw_resource_error("{}", cuda_status().reason); }

double cuda_read_bytes_per_s(int, std::int64_t) {
  throw_resource_error("{}", cuda_status().reason);
}

std::unique_ptr<Backend> make_cuda_backend(const CudaBackendOptions&) {
  throw_input_error("{}", cuda_status().reason);
}

std::size_t cuda_activation_bytes(const TransformerShape&, int, int) {
  throw_resource_error("{}", cuda_status().reason);
}

}  // namespace iol
