#pragma once
// What the bench must know of the model that every subject serves.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "backend/weight_format.h"
#include "model/config.h"

namespace iol::bench {

/// What an engine directory, or a checkpoint that is quantized already, says of itself.
struct BuiltFrom {
  std::string what;  // "an engine directory"
  Quantization quantization;
  std::optional<DType> kv_dtype;  // as asked for, or the directory's default
  std::filesystem::path folder;   // of the source; empty when it is not there any more
  std::string missing;            // why, then
};

struct BenchModel {
  std::string name;                             // as the user said it
  std::optional<std::filesystem::path> folder;  // nothing: synthetic, random weights
  ModelConfig config;
  DType dtype = DType::kF32;            // of weights and cache, the same for every subject
  std::string hash;                     // of the files; of the shape when synthetic
  std::optional<BuiltFrom> built_from;  // of quantized weights

  [[nodiscard]] bool synthetic() const { return !folder.has_value(); }
};

/// Bytes of weights that a decode step has to read: all, but of an input embedding that isn't also
/// the output projection, which is only looked up.
std::int64_t weight_bytes_per_step(const ModelConfig& config, DType dtype,
                                   const Quantization& quantization);

/// config.json of the model's shape, for transformers to build it with random weights.
nlohmann::json transformers_config(const ModelConfig& config);

/// "sha256:..." over the names and contents of the model's files (config, tokenizer, weights). Of
/// weights files that together exceed 4 GiB only the sizes and the first and last MiB count, and
/// the text begins with "sha256-sampled:". Throws InputError when a file can't be read.
std::string hash_model_files(const std::filesystem::path& folder);

/// {name, hash, synthetic, architecture, ...}, as the subject record carries it.
nlohmann::json model_record(const BenchModel& model);

}  // namespace iol::bench
