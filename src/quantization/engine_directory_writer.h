#pragma once
// `iol build`: a model as an engine directory, quantized once.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "backend/weight_format.h"
#include "model/config.h"
#include "model/weight_source.h"

namespace iol {

struct BuildRequest {
  std::filesystem::path output;
  std::string source_model;             // as the user named it
  std::filesystem::path source_folder;  // config.json and the tokenizer are copied from it
  Quantization quantization;            // what to make of tensors that are plain
  std::optional<DType> kv_dtype;        // the default when loaded; nothing: as the compute dtype
  nlohmann::json calibration;           // null, or an object for the manifest
  std::int64_t max_shard_bytes = 2'000'000'000;
  int num_threads = 1;
};

/// What is being done, and how much of all is done. May throw to stop the build.
using BuildProgress =
    std::function<void(std::string_view what, std::int64_t done, std::int64_t total)>;

struct BuildResult {
  std::int64_t weights_bytes = 0;  // of the weights files
  std::int64_t total_bytes = 0;    // of all files
  int num_quantized = 0;           // matrices
};

/// Takes the tensors that `config` implies from `weights` one by one, quantizes them as
/// load_weights() would (quantize_row.h), and writes an engine directory (docs:
/// engine_directory.md). `weights` may be anything: a checkpoint, or a decorator that scales its
/// tensors. Of a source that is quantized already the tensors stay as they are, and
/// request.quantization must be what it says.
///
/// The directory appears under its name when it is whole, and not otherwise: not after an error,
/// an exception from `progress`, or a kill. Memory: one tensor's scales and a piece of its rows.
///
/// Throws InputError for a tensor that is missing, misshapen or can't be quantized and for an
/// output that exists; ResourceError when the disk is full.
BuildResult write_engine_directory(const BuildRequest& request, const ModelConfig& config,
                                   WeightSource& weights, const BuildProgress& progress = {});

}  // namespace iol
