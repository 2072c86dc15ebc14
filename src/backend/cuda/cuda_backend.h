#pragma once
// The CUDA backend: the operations of backend.h on one GPU of compute capability 8.0 or later. See
// docs/cuda_backend.md.
#include <memory>

#include "backend/backend.h"

namespace iol {

struct CudaBackendOptions {
  int index = 0;               // of the GPU
  int num_threads = 0;         // of the host, for packing weights; 0: default_num_threads()
  DType dtype = DType::kBF16;  // of packed matrices: f32, f16 or bf16
  /// Products of many tokens have the bits of those of few. On compute capability 9.0 they take
  /// longer by it, of fp8 several times as long; elsewhere, and of int8 and int4, they have anyway.
  bool deterministic = false;
};

/// Throws InputError when there is no such GPU or this build has no CUDA backend, with the reason.
std::unique_ptr<Backend> make_cuda_backend(const CudaBackendOptions& options);

/// Bytes that make_activations() reserves on the device.
std::size_t cuda_activation_bytes(const TransformerShape& shape, int max_tokens,
                                  int max_logit_tokens);

}  // namespace iol
