#include "backend/read_elements.h"

#include <cstring>

namespace iol {

void read_elements(const HostTensor& tensor, std::int64_t first, std::span<float> out) {
  if (tensor.dtype == DType::kF32) {
    std::memcpy(out.data(), tensor.data + first * 4, out.size_bytes());
    return;
  }
  const std::byte* in = tensor.data + first * 2;
  const auto convert = [&](auto to_f32) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      std::uint16_t bits;
      std::memcpy(&bits, in + i * 2, sizeof(bits));
      out[i] = to_f32(bits);
    }
  };
  tensor.dtype == DType::kBF16 ? convert(bf16_to_f32) : convert(f16_to_f32);
}

}  // namespace iol
