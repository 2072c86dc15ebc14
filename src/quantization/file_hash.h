#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>

#include "quantization/manifest.h"

namespace iol {

/// Name, size and SHA-256 of a file. `advance(bytes)` is called as it goes on, and may throw.
ManifestFile hash_file(const std::filesystem::path& path,
                       const std::function<void(std::int64_t)>& advance = {});

}  // namespace iol
