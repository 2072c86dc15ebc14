#pragma once
#include <filesystem>
#include <string_view>

namespace iol::report {

/// Writes `content` beside `path`, flushes it to the disk and renames it into place, so that
/// readers see the old file or the whole new one. Throws ResourceError with one line (path, reason)
/// and leaves nothing behind when that fails, as on a full disk.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

}  // namespace iol::report
