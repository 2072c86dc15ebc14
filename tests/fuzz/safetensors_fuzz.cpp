// parse_safetensors(): bad input is an InputError of one line, and every tensor it returns can be
// read.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "model/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    const auto tensors = iol::parse_safetensors(bytes, "fuzz.safetensors");
    std::size_t sum = 0;
    for (const auto& [name, tensor] : tensors) {
      const auto num_bytes =
          static_cast<std::size_t>(tensor.num_elements()) * iol::dtype_bytes(tensor.dtype);
      if (num_bytes == 0) continue;
      if (tensor.data < bytes.data() || tensor.data + num_bytes > bytes.data() + size) std::abort();
      sum += std::to_integer<std::size_t>(tensor.data[0]) +
             std::to_integer<std::size_t>(tensor.data[num_bytes - 1]);
    }
    const volatile std::size_t keep = sum;  // so that the bytes are read
    static_cast<void>(keep);
  } catch (const iol::InputError& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
