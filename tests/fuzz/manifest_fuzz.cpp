// parse_manifest(): bad input is an InputError of one line; what is accepted is written and read
// back as the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "quantization/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    const auto manifest = iol::parse_manifest(input, "fuzz");
    for (const auto& file : manifest.files) {
      if (file.name.find('/') != std::string::npos || file.size_bytes < 0) std::abort();
    }
    const auto text = iol::manifest_text(manifest);
    if (iol::manifest_text(iol::parse_manifest(text, "again")) != text) std::abort();
  } catch (const iol::InputError& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
