#include "model/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "model/json_fields.h"

namespace iol {
namespace {

using nlohmann::json;

// The format's own bound on the header.
constexpr std::uint64_t kMostHeaderBytes = 100'000'000;

struct Extent {
  std::uint64_t begin;
  std::uint64_t end;
  std::string name;
};

std::optional<std::uint64_t> unsigned_of(const json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<std::uint64_t>();
}

/// Elements times bytes, or nothing on overflow.
std::optional<std::uint64_t> tensor_bytes(const std::vector<std::int64_t>& shape, DType dtype) {
  std::uint64_t bytes = dtype_bytes(dtype);
  for (const auto extent : shape) {
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes))
      return std::nullopt;
  }
  return bytes;
}

std::vector<std::int64_t> parse_shape(const json& entry, const std::string& where) {
  const auto found = entry.find("shape");
  if (found == entry.end() || !found->is_array() || found->size() > 8) {
    throw_input_error("{}: no valid shape", where);
  }
  std::vector<std::int64_t> shape;
  for (const auto& extent : *found) {
    const auto value = unsigned_of(extent);
    if (!value || *value > (std::uint64_t{1} << 48))
      throw_input_error("{}: absurd shape {}", where, shown(*found));
    shape.push_back(static_cast<std::int64_t>(*value));
  }
  return shape;
}

/// Checks one header entry against the data section of `num_data_bytes`.
HostTensor parse_entry(const json& entry, const std::string& where, std::uint64_t num_data_bytes,
                       Extent& extent) {
  if (!entry.is_object()) throw_input_error("{}: the header entry is not an object", where);
  HostTensor tensor;
  const auto dtype = entry.find("dtype");
  const auto known = dtype != entry.end() && dtype->is_string()
                         ? parse_dtype(dtype->get<std::string>())
                         : std::nullopt;
  if (!known) {
    throw_input_error("{}: {}", where,
                      dtype == entry.end() ? "no dtype" : "unknown dtype " + shown(*dtype));
  }
  tensor.dtype = *known;
  tensor.shape = parse_shape(entry, where);
  const auto offsets = entry.find("data_offsets");
  if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2) {
    throw_input_error("{}: no valid data_offsets", where);
  }
  const auto begin = unsigned_of((*offsets)[0]);
  const auto end = unsigned_of((*offsets)[1]);
  if (!begin || !end || *begin > *end)
    throw_input_error("{}: data_offsets {} are not a range", where, shown(*offsets));
  if (*end > num_data_bytes) {
    throw_input_error(
        "{}: data_offsets {} end past the file's {} bytes of data; the file is truncated or broken",
        where, shown(*offsets), num_data_bytes);
  }
  const auto expected = tensor_bytes(tensor.shape, tensor.dtype);
  if (expected != *end - *begin) {
    throw_input_error("{}: {} bytes of data do not fit its shape and dtype", where, *end - *begin);
  }
  extent.begin = *begin;
  extent.end = *end;
  return tensor;
}

void refuse_overlaps(std::vector<Extent> extents, const std::string& origin) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  for (std::size_t i = 1; i < extents.size(); ++i) {
    if (extents[i].begin < extents[i - 1].end) {
      throw_input_error("{}: tensors '{}' and '{}' overlap", origin,
                        shown_name(extents[i - 1].name), shown_name(extents[i].name));
    }
  }
}

/// Parses JSON and refuses a repeated name, of which a plain parser keeps the last.
json parse_header(std::string_view text, const std::string& origin) {
  constexpr int kDeepest = 3;  // the extents of a shape
  std::set<std::string> names;
  bool repeated = false;
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::key && depth == 1) {
      repeated = repeated || !names.insert(parsed.get<std::string>()).second;
    }
    // What lies deeper is never looked at: a header of brackets must not fill the memory.
    return depth <= kDeepest;
  };
  json header = json::parse(text, watch, /*allow_exceptions=*/false);
  if (header.is_discarded() || !header.is_object()) {
    throw_input_error("{}: the header is not a JSON object; not a safetensors file, or broken",
                      origin);
  }
  if (repeated) throw_input_error("{}: a tensor name is repeated in the header", origin);
  return header;
}

/// A name that stays inside its folder and that an error message can show.
bool is_file_name(const std::string& name) {
  constexpr std::size_t kMostBytes = 255;
  return !name.empty() && name.size() <= kMostBytes && name != "." && name != ".." &&
         std::none_of(name.begin(), name.end(),
                      [](unsigned char c) { return c == '/' || c < ' ' || c == 0x7f; });
}

struct Parts {
  json header;
  std::span<const std::byte> data;
};

Parts parts_of(std::span<const std::byte> bytes, const std::string& origin) {
  std::uint64_t num_header_bytes = 0;
  if (bytes.size() < sizeof(num_header_bytes)) {
    throw_input_error("{}: {} bytes are too few for a safetensors file", origin, bytes.size());
  }
  std::memcpy(&num_header_bytes, bytes.data(),
              sizeof(num_header_bytes));  // little-endian, as every host we run on
  if (num_header_bytes > kMostHeaderBytes ||
      num_header_bytes > bytes.size() - sizeof(num_header_bytes)) {
    throw_input_error(
        "{}: claims a header of {} bytes in a file of {}; not a safetensors file, or truncated",
        origin, num_header_bytes, bytes.size());
  }
  const auto header_bytes = bytes.subspan(sizeof(num_header_bytes), num_header_bytes);
  const auto data = bytes.subspan(sizeof(num_header_bytes) + num_header_bytes);
  return {parse_header({reinterpret_cast<const char*>(header_bytes.data()), header_bytes.size()},
                       origin),
          data};
}

}  // namespace

std::map<std::string, HostTensor> parse_safetensors(std::span<const std::byte> bytes,
                                                    const std::string& origin) {
  const auto [header, data] = parts_of(bytes, origin);
  std::map<std::string, HostTensor> tensors;
  std::vector<Extent> extents;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    Extent extent{0, 0, name};
    HostTensor tensor = parse_entry(entry, fmt::format("{}: tensor '{}'", origin, shown_name(name)),
                                    data.size(), extent);
    tensor.data = data.data() + extent.begin;
    extents.push_back(std::move(extent));
    tensors.emplace(name, std::move(tensor));
  }
  refuse_overlaps(std::move(extents), origin);
  return tensors;
}

std::map<std::string, std::string> safetensors_metadata(std::span<const std::byte> bytes,
                                                        const std::string& origin) {
  const Parts parts = parts_of(bytes, origin);
  std::map<std::string, std::string> metadata;
  const auto found = parts.header.find("__metadata__");
  if (found == parts.header.end() || !found->is_object()) return metadata;
  for (const auto& [name, value] : found->items()) {
    if (value.is_string()) metadata.emplace(name, value.get<std::string>());
  }
  return metadata;
}

SafetensorsFolder::SafetensorsFolder(const std::filesystem::path& folder) {
  const auto index_path = folder / "model.safetensors.index.json";
  const auto single_path = folder / "model.safetensors";
  if (path_exists(single_path)) {
    add_file(single_path);
    return;
  }
  if (!path_exists(index_path)) {
    throw_input_error(
        "'{}' has neither model.safetensors nor model.safetensors.index.json; only safetensors "
        "checkpoints can be loaded",
        folder.string());
  }
  const MappedFile index_file(index_path);
  const std::string_view text(reinterpret_cast<const char*>(index_file.bytes().data()),
                              index_file.bytes().size());
  const json index = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (index.is_discarded() || !index.is_object() || !index.contains("weight_map") ||
      !index["weight_map"].is_object()) {
    throw_input_error("{}: no weight_map; the file is broken", index_path.string());
  }
  std::set<std::string> shards;
  for (const auto& [name, shard] : index["weight_map"].items()) {
    if (!shard.is_string())
      throw_input_error("{}: '{}' names no file", index_path.string(), shown_name(name));
    auto file = shard.get<std::string>();
    if (!is_file_name(file)) {
      throw_input_error("{}: '{}' is not the name of a file in the folder", index_path.string(),
                        shown_name(file));
    }
    shards.insert(std::move(file));
  }
  for (const auto& shard : shards) add_file(folder / shard);
  for (const auto& [name, shard] : index["weight_map"].items()) {
    if (find(name) == nullptr) {
      throw_input_error("{}: tensor '{}' is not in any of the files it names", index_path.string(),
                        shown_name(name));
    }
  }
}

void SafetensorsFolder::add_file(const std::filesystem::path& path) {
  files_.emplace_back(path);
  files_.back().will_read();
  auto tensors = parse_safetensors(files_.back().bytes(), path.string());
  for (auto& [name, tensor] : tensors) {
    if (!tensors_.emplace(name, std::move(tensor)).second) {
      throw_input_error("{}: tensor '{}' is also in another file", path.string(), shown_name(name));
    }
  }
}

const HostTensor* SafetensorsFolder::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

}  // namespace iol
