#pragma once
#include <cstdint>
#include <span>

#include "backend/backend.h"

namespace iol {

/// out = elements [first, first + out.size()) of a plain f32, f16 or bf16 tensor as f32.
void read_elements(const HostTensor& tensor, std::int64_t first, std::span<float> out);

}  // namespace iol
