#pragma once
// The device that a run uses: which it is, its memory, and the backend on it.
#include <cstdint>
#include <memory>
#include <optional>

#include "backend/backend.h"
#include "backend/device.h"
#include "base/cpu.h"
#include "engine/memory_check.h"
#include "model/memory_plan.h"

namespace iol {

/// kAuto becomes the first usable GPU, or the CPU where there is none. Throws InputError with the
/// reason when a GPU is asked for that can't be used.
Device resolve_device(const Device& asked);

/// Bytes that can still be taken from a (resolved) device's memory.
std::int64_t available_memory_bytes(const Device& device);

/// Throws ResourceError when `needed_bytes` for `what` are more than available on the device, with
/// `advice` as above require_memory() of the host.
void require_memory(const Device& device, std::int64_t needed_bytes, std::string_view what,
                    const MemoryAdvice& advice = nullptr);

/// Bytes that Backend::make_activations() reserves on the device.
std::int64_t activation_bytes(const Device& device, const TransformerShape& shape, int max_tokens,
                              int max_logit_tokens, int num_threads);

/// How `device` packs weights, for weight_bytes().
WeightPacking packing_of(const Device& device);

/// Tokens in a step that a (resolved) device gains from: a GPU's products take more to be bound by
/// arithmetic, and each step has its own latency.
int default_step_tokens(const Device& device);

struct BackendChoice {
  Device device;           // resolved
  std::optional<Isa> isa;  // of the CPU; nothing: the best
  int num_threads = 0;     // 0: default_num_threads()
  DType dtype = DType::kBF16;
  bool deterministic = false;  // see CudaBackendOptions
};
std::unique_ptr<Backend> make_backend(const BackendChoice& choice);

}  // namespace iol
