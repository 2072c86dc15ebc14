#pragma once
// A golden checkpoint of tests/goldens/quantized, changed and written to a folder of its own.
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/temporary_folder.h"

namespace iol::test {

inline const std::filesystem::path kQuantizedGoldens = IOL_SOURCE_DIR "/tests/goldens/quantized";

class EditedCheckpoint {
 public:
  struct Tensor {
    std::string dtype;  // as safetensors spells it
    std::vector<std::int64_t> shape;
    std::string bytes;

    template <class T>
    void set(std::size_t index, T value) {
      std::memcpy(bytes.data() + index * sizeof(T), &value, sizeof(T));
    }
    template <class T>
    [[nodiscard]] T get(std::size_t index) const {
      T value;
      std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
      return value;
    }
  };

  explicit EditedCheckpoint(const std::string& golden)
      : config(nlohmann::json::parse(std::ifstream(kQuantizedGoldens / golden / "config.json"))) {
    const auto hf_quant_config = kQuantizedGoldens / golden / "hf_quant_config.json";
    if (std::filesystem::exists(hf_quant_config))
      std::filesystem::copy(hf_quant_config, folder_.path() / "hf_quant_config.json");
    std::ifstream file(kQuantizedGoldens / golden / "model.safetensors", std::ios::binary);
    const std::string content((std::istreambuf_iterator<char>(file)), {});
    std::uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, content.data(), sizeof(header_bytes));
    const auto header = nlohmann::json::parse(content.substr(8, header_bytes));
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") continue;
      const auto begin = entry["data_offsets"][0].get<std::size_t>();
      const auto end = entry["data_offsets"][1].get<std::size_t>();
      tensors[name] = {entry["dtype"], entry["shape"],
                       content.substr(8 + header_bytes + begin, end - begin)};
    }
  }

  /// The fields of quantization_config.
  nlohmann::json& settings() { return config["quantization_config"]; }
  Tensor& at(const std::string& name) { return tensors.at(name); }

  /// Writes what there is now.
  const std::filesystem::path& save() const {
    nlohmann::json header;
    std::string data;
    for (const auto& [name, tensor] : tensors) {
      header[name] = {{"dtype", tensor.dtype},
                      {"shape", tensor.shape},
                      {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
      data += tensor.bytes;
    }
    const std::string text = header.dump();
    const std::uint64_t header_bytes = text.size();
    std::string content(sizeof(header_bytes), '\0');
    std::memcpy(content.data(), &header_bytes, sizeof(header_bytes));
    folder_.write("model.safetensors", content + text + data);
    folder_.write("config.json", config.dump());
    return folder_.path();
  }

  nlohmann::json config;
  std::map<std::string, Tensor> tensors;

 private:
  TemporaryFolder folder_;
};

}  // namespace iol::test
