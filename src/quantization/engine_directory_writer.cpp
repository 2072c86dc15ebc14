#include "quantization/engine_directory_writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/thread_pool.h"
#include "model/tensor_list.h"
#include "quantization/engine_directory.h"
#include "quantization/file_hash.h"
#include "quantization/quantize_tensor.h"
#include "quantization/safetensors_writer.h"
#include "quantization/staged_directory.h"

namespace iol {
namespace {

using nlohmann::json;

constexpr const char* kCopied[] = {"config.json", "generation_config.json", "tokenizer.json",
                                   "tokenizer.model", "tokenizer_config.json"};

struct PlannedTensor {
  ModelTensor tensor;
  std::int64_t group_size = 0;       // where quantized
  std::vector<TensorHeader> stored;  // one; with scales two, with zero points three
};

struct Shard {
  std::vector<PlannedTensor> tensors;
  std::int64_t size_bytes = 0;
};

/// Adds up what is done, for the user.
class Meter {
 public:
  explicit Meter(const BuildProgress& progress) : progress_(progress) {}
  void expect(std::int64_t bytes) { total_ += bytes; }
  void describe(std::string what) { what_ = std::move(what); }
  void advance(std::int64_t bytes) {
    done_ += bytes;
    if (progress_) progress_(what_, done_, total_);
  }

 private:
  const BuildProgress& progress_;
  std::string what_;
  std::int64_t done_ = 0;
  std::int64_t total_ = 0;
};

std::unique_ptr<WeightSource::Lease> checked_lease(WeightSource& weights,
                                                   const ModelTensor& tensor) {
  auto lease = weights.lease(tensor.name);
  const HostTensor& held = lease->tensor();
  if (held.shape != tensor.shape) {
    throw_input_error("tensor '{}' has shape [{}], but config.json implies [{}]", tensor.name,
                      fmt::join(held.shape, ", "), fmt::join(tensor.shape, ", "));
  }
  const bool is_float =
      held.dtype == DType::kF32 || held.dtype == DType::kF16 || held.dtype == DType::kBF16;
  if (held.quantized == nullptr && !is_float) {
    throw_input_error("tensor '{}' is {}; weights must be f32, f16 or bf16", tensor.name,
                      dtype_name(held.dtype));
  }
  if (held.quantized != nullptr && tensor.format == WeightFormat::kNone) {
    throw_input_error("tensor '{}' is quantized, though its source says that it isn't",
                      tensor.name);
  }
  return lease;
}

PlannedTensor planned(const ModelTensor& tensor, int group_size, WeightSource& weights) {
  PlannedTensor plan{tensor, 0, {}};
  if (tensor.format == WeightFormat::kNone) {
    const auto lease = checked_lease(weights, tensor);
    plan.stored = {{tensor.name, lease->tensor().dtype, tensor.shape}};
    return plan;
  }
  const std::int64_t rows = tensor.shape[0];
  const std::int64_t columns = tensor.shape[1];
  const WeightFormatTraits& traits = traits_of(tensor.format);
  if (traits.grouped && group_size == 0) {
    throw_input_error(
        "tensor '{}' has one group per row, which an engine directory can't hold; load the "
        "checkpoint itself",
        tensor.name);
  }
  plan.group_size = traits.grouped ? group_size : columns;
  if (columns % plan.group_size != 0) {
    throw_input_error(
        "tensor '{}' has {} columns, which groups of {} don't divide; use a smaller group size",
        tensor.name, columns, plan.group_size);
  }
  const std::int64_t groups = columns / plan.group_size;
  DType dtype = tensor.format == WeightFormat::kFp8 ? DType::kF8E4M3 : DType::kI8;
  if (tensor.format == WeightFormat::kInt4) dtype = DType::kU8;
  plan.stored = {{tensor.name, dtype, {rows, stored_row_bytes(tensor.format, columns)}},
                 {tensor.name + kScaleSuffix, DType::kF32, {rows, groups}}};
  if (traits.has_zero_points)
    plan.stored.push_back({tensor.name + kZeroSuffix, DType::kU8, {rows, groups}});
  return plan;
}

/// Fills files up to the limit, in the model's order; a tensor stays with its scales.
std::vector<Shard> plan_shards(const BuildRequest& request, const ModelConfig& config,
                               WeightSource& weights) {
  std::vector<Shard> shards(1);
  for (const auto& tensor : model_tensors(config, request.quantization)) {
    PlannedTensor plan = planned(tensor, request.quantization.group_size, weights);
    std::int64_t bytes = 0;
    for (const auto& stored : plan.stored) bytes += stored.size_bytes();
    if (shards.back().size_bytes > 0 && shards.back().size_bytes + bytes > request.max_shard_bytes)
      shards.emplace_back();
    shards.back().size_bytes += bytes;
    shards.back().tensors.push_back(std::move(plan));
  }
  return shards;
}

std::vector<std::filesystem::path> source_paths(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  for (const char* name : {kManifestName, "model.safetensors.index.json"}) {
    if (path_exists(folder / name)) paths.push_back(folder / name);
  }
  for (const char* name : kCopied) {
    if (path_exists(folder / name)) paths.push_back(folder / name);
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

json model_json(const ModelConfig& config, const std::filesystem::path& folder) {
  const MappedFile file(folder / "config.json");
  const auto bytes = file.bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return {{"architecture", config.architecture},
          {"dtype", dtype_name(config.dtype)},
          {"parameters", num_parameters(config)},
          {"layers", config.num_layers},
          {"hidden_size", config.hidden_size},
          {"vocab_size", config.vocab_size},
          {"max_context", config.max_position_embeddings},
          {"config", json::parse(text)}};
}

class DirectoryWriter {
 public:
  DirectoryWriter(const BuildRequest& request, const ModelConfig& config, WeightSource& weights,
                  const BuildProgress& progress)
      : request_(request),
        config_(config),
        weights_(weights),
        meter_(progress),
        threads_(request.num_threads),
        staged_(request.output) {}

  BuildResult run() {
    const auto shards = plan_shards(request_, config_, weights_);
    const auto sources = source_paths(request_.source_folder);
    for (const auto& path : sources)
      meter_.expect(static_cast<std::int64_t>(std::filesystem::file_size(path)));
    for (const auto& shard : shards) meter_.expect(2 * shard.size_bytes);  // written, then hashed
    describe_source(sources);
    copy_files();
    for (std::size_t i = 0; i < shards.size(); ++i) write_shard(shards[i], i + 1, shards.size());
    const std::string text = manifest_text(manifest_);
    write_file_durably(staged_.path() / kManifestName, std::as_bytes(std::span(text)));
    staged_.commit();
    result_.total_bytes = static_cast<std::int64_t>(text.size());
    for (const auto& file : manifest_.files) result_.total_bytes += file.size_bytes;
    return result_;
  }

 private:
  void describe_source(const std::vector<std::filesystem::path>& sources) {
    manifest_.tool_version = IOL_VERSION;
    manifest_.model = model_json(config_, request_.source_folder);
    manifest_.quantization = request_.quantization;
    manifest_.kv_dtype = request_.kv_dtype;
    manifest_.calibration = request_.calibration;
    manifest_.source_model = request_.source_model;
    manifest_.source_folder = std::filesystem::canonical(request_.source_folder).string();
    for (const auto& path : sources) {
      meter_.describe("reading " + path.filename().string());
      manifest_.source_files.push_back(hash_source(path));
    }
    manifest_.build_id = build_id_of(manifest_);
  }

  ManifestFile hash_source(const std::filesystem::path& path) {
    return hash_file(path, [&](std::int64_t bytes) { meter_.advance(bytes); });
  }

  void copy_files() {
    for (const char* name : kCopied) {
      if (!path_exists(request_.source_folder / name)) continue;
      const MappedFile file(request_.source_folder / name);
      write_file_durably(staged_.path() / name, file.bytes());
      manifest_.files.push_back(hash_file(staged_.path() / name));
    }
  }

  void write_shard(const Shard& shard, std::size_t number, std::size_t count) {
    const std::string name = fmt::format("weights-{:05}-of-{:05}.safetensors", number, count);
    std::vector<TensorHeader> headers;
    for (const auto& plan : shard.tensors)
      headers.insert(headers.end(), plan.stored.begin(), plan.stored.end());
    SafetensorsWriter writer(staged_.path() / name, headers,
                             {{"format", "pt"}, {kBuildIdKey, manifest_.build_id}});
    for (const auto& plan : shard.tensors) write_tensor(plan, writer);
    writer.finish();
    meter_.describe("hashing " + name);
    manifest_.files.push_back(hash_source(staged_.path() / name));
    result_.weights_bytes += manifest_.files.back().size_bytes;
  }

  void write_tensor(const PlannedTensor& plan, SafetensorsWriter& writer) {
    const std::string& name = plan.tensor.name;
    meter_.describe(name);
    const auto lease = checked_lease(weights_, plan.tensor);
    const HostTensor& tensor = lease->tensor();
    const auto write = [&](const std::string& part, std::int64_t offset,
                           std::span<const std::byte> bytes) {
      writer.write(part, offset, bytes);
      meter_.advance(static_cast<std::int64_t>(bytes.size()));
    };
    if (plan.tensor.format == WeightFormat::kNone) {
      constexpr std::int64_t kPieceBytes = 16 << 20;
      const std::int64_t size = plan.stored[0].size_bytes();
      for (std::int64_t begin = 0; begin < size; begin += kPieceBytes) {
        const auto count = static_cast<std::size_t>(std::min(kPieceBytes, size - begin));
        write(name, begin, {tensor.data + begin, count});
      }
      return;
    }
    const auto stored = store_quantized(
        tensor, name, plan.tensor.format, plan.group_size, threads_,
        [&](std::int64_t offset, std::span<const std::byte> bytes) { write(name, offset, bytes); });
    write(name + kScaleSuffix, 0, std::as_bytes(std::span(stored.scales)));
    if (!stored.zeros.empty()) write(name + kZeroSuffix, 0, std::as_bytes(std::span(stored.zeros)));
    ++result_.num_quantized;
  }

  const BuildRequest& request_;
  const ModelConfig& config_;
  WeightSource& weights_;
  Meter meter_;
  ThreadPool threads_;
  StagedDirectory staged_;
  Manifest manifest_;
  BuildResult result_;
};

}  // namespace

BuildResult write_engine_directory(const BuildRequest& request, const ModelConfig& config,
                                   WeightSource& weights, const BuildProgress& progress) {
  const auto taken = weights.quantization();
  if (taken && *taken != request.quantization) {
    throw_input_error("'{}' is quantized already, to {}; build it without --quant",
                      request.source_model, weight_format_name(taken->format));
  }
  return DirectoryWriter(request, config, weights, progress).run();
}

}  // namespace iol
