#pragma once
// The CPU backend: the operations of backend.h as parallel sections over the kernels of one
// instruction set.
#include <memory>
#include <optional>

#include "backend/backend.h"
#include "base/cpu.h"

namespace iol {

struct CpuBackendOptions {
  std::optional<Isa> isa;      // nothing: the best this processor has
  int num_threads = 0;         // 0: default_num_threads()
  DType dtype = DType::kBF16;  // of packed matrices: f32, f16 or bf16
};

/// Throws InputError when the processor lacks the instruction set.
std::unique_ptr<Backend> make_cpu_backend(const CpuBackendOptions& options);

/// Bytes that make_activations() reserves, for `iol plan`.
std::size_t cpu_activation_bytes(const TransformerShape& shape, int max_tokens,
                                 int max_logit_tokens, int num_threads);

}  // namespace iol
