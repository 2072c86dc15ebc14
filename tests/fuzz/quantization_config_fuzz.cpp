// parse_checkpoint_format(): bad settings are an InputError of one line; what is accepted says of
// any matrix how it is quantized, or that it isn't. The input is config.json, a NUL,
// hf_quant_config.json.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "base/error.h"
#include "quantization/checkpoint_format.h"

namespace {

/// A plain matrix, and two that are quantized.
iol::SafetensorsFolder make_tensors() {
  std::string name = (std::filesystem::temp_directory_path() / "iol-fuzz-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) std::abort();
  const std::string header =
      R"({"a.weight":{"dtype":"F16","shape":[1,1],"data_offsets":[0,2]},)"
      R"("b.weight":{"dtype":"F8_E4M3","shape":[1,2],"data_offsets":[2,4]},)"
      R"("c.weight_packed":{"dtype":"I32","shape":[1,1],"data_offsets":[4,8]},)"
      R"("c.qweight":{"dtype":"I32","shape":[1,1],"data_offsets":[8,12]}})";
  const std::uint64_t header_bytes = header.size();
  std::ofstream file(name + "/model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&header_bytes), sizeof(header_bytes));
  file << header << std::string(12, '\1');
  file.close();
  iol::SafetensorsFolder tensors(name);
  std::filesystem::remove_all(name);  // it stays mapped
  return tensors;
}

void ask(const iol::CheckpointFormat& format, const std::string& module) {
  static const iol::SafetensorsFolder tensors = make_tensors();
  static const std::string folder = "fuzz";
  const iol::StoredMatrix stored(tensors, folder, module);
  try {
    const auto scheme = format.scheme_of(stored);
    if (!scheme) return;
    if (scheme->format == iol::WeightFormat::kNone || scheme->group_size < 0) std::abort();
    static_cast<void>(format.unpack(stored));  // scales are missing, whatever the format
    std::abort();
  } catch (const iol::InputError& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto config_size = input.find('\0');
  const auto hf_quant_config =
      config_size == std::string_view::npos ? "" : input.substr(config_size + 1);
  try {
    const auto format =
        iol::parse_checkpoint_format(input.substr(0, config_size), hf_quant_config, "fuzz");
    if (format == nullptr) return 0;
    for (const auto* module : {"a", "b", "c", "lm_head"}) ask(*format, module);
  } catch (const iol::InputError& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
