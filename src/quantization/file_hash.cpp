#include "quantization/file_hash.h"

#include <algorithm>

#include "base/mapped_file.h"
#include "base/sha256.h"

namespace iol {

ManifestFile hash_file(const std::filesystem::path& path,
                       const std::function<void(std::int64_t)>& advance) {
  constexpr std::size_t kPieceBytes = 8 << 20;
  const MappedFile file(path);
  file.will_read();
  Sha256 hash;
  for (auto rest = file.bytes(); !rest.empty();) {
    const auto piece = rest.first(std::min(kPieceBytes, rest.size()));
    hash.add(piece);
    release_pages(piece);
    rest = rest.subspan(piece.size());
    if (advance) advance(static_cast<std::int64_t>(piece.size()));
  }
  return {path.filename().string(), static_cast<std::int64_t>(file.bytes().size()),
          hash.hexadecimal()};
}

}  // namespace iol
