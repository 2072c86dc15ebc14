// What `iol build` stores: the numbers of NumPy, in files that any safetensors reader opens, whole
// or not at all.
#include "quantization/engine_directory_writer.h"

#include <gmock/gmock.h>

#include <cstring>
#include <limits>
#include <set>

#include "backend/cpu/cpu_backend.h"
#include "base/error.h"
#include "model/safetensors.h"
#include "model/tensor_list.h"
#include "model/weights.h"
#include "quantization/engine_directory.h"
#include "tests/message_of.h"
#include "tests/quantization/built_model.h"

namespace iol::test {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kOnlyFile = "weights-00001-of-00001.safetensors";

class EngineDirectoryWriter : public BuiltModel {};

TEST_F(EngineDirectoryWriter, stores_what_numpy_computes) {
  const json golden =
      json::parse(std::ifstream(IOL_SOURCE_DIR "/tests/goldens/engine_directory.json"));
  for (const auto& build : golden.at("builds")) {
    const std::string format = build.at("quant");
    this->build(golden.at("model"), quantization(parse_weight_format(format).value(),
                                                 build.at("group_size").get<int>()));
    const std::string file = read_file(directory() / kOnlyFile);
    const auto tensors = parse_safetensors(std::as_bytes(std::span(file)), "built");
    EXPECT_EQ(tensors.size(), build.at("sha256").size()) << format;
    for (const auto& [name, hash] : build.at("sha256").items()) {
      ASSERT_TRUE(tensors.contains(name)) << format << " " << name;
      const HostTensor& tensor = tensors.at(name);
      const auto bytes =
          static_cast<std::size_t>(tensor.num_elements()) * dtype_bytes(tensor.dtype);
      EXPECT_EQ(sha256_of({reinterpret_cast<const char*>(tensor.data), bytes}), hash)
          << format << " " << name;
    }
    std::filesystem::remove_all(directory());
  }
}

TEST_F(EngineDirectoryWriter, files_have_no_gaps_and_aligned_matrices) {
  build("llama-bf16", quantization(WeightFormat::kInt4, 32));
  const std::string file = read_file(directory() / kOnlyFile);
  std::uint64_t size = 0;
  std::memcpy(&size, file.data(), sizeof(size));
  EXPECT_EQ((size + 8) % 64, 0);
  const json header = json::parse(file.substr(8, size));
  std::map<std::int64_t, std::int64_t> extents;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const auto begin = entry["data_offsets"][0].get<std::int64_t>();
    const auto end = entry["data_offsets"][1].get<std::int64_t>();
    extents[begin] = end;
    if ((end - begin) % 64 == 0) {
      EXPECT_EQ(begin % 64, 0) << name;
    }
  }
  std::int64_t covered = 0;
  for (const auto& [begin, end] : extents) {
    EXPECT_EQ(begin, covered);
    covered = end;
  }
  EXPECT_EQ(8 + size + static_cast<std::uint64_t>(covered), file.size());
}

TEST_F(EngineDirectoryWriter, splits_into_files_of_the_size_asked_for) {
  build("llama", quantization(WeightFormat::kInt8),
        [](auto& request) { request.max_shard_bytes = 20'000; });
  const EngineDirectory directory(this->directory(), /*verify=*/true);
  int num_shards = 0;
  for (const auto& file : directory.manifest().files) {
    if (!file.name.ends_with(".safetensors")) continue;
    ++num_shards;
    EXPECT_LT(file.size_bytes, 20'000 + 4096) << file.name;  // and its header
  }
  EXPECT_GT(num_shards, 2);
}

TEST_F(EngineDirectoryWriter, the_same_build_gives_the_same_bytes) {
  build("llama-tied", quantization(WeightFormat::kFp8));
  const std::string weights = read_file(directory() / kOnlyFile);
  const std::string manifest = read_file(directory() / "manifest.json");
  std::filesystem::remove_all(directory());
  build("llama-tied", quantization(WeightFormat::kFp8),
        [](auto& request) { request.num_threads = 1; });
  EXPECT_EQ(read_file(directory() / kOnlyFile), weights);
  EXPECT_EQ(read_file(directory() / "manifest.json"), manifest);
}

TEST_F(EngineDirectoryWriter, the_manifest_says_what_was_built_from_what) {
  build("llama-bf16", {WeightFormat::kInt4, 32, WeightFormat::kInt8, {"down_proj"}},
        [](auto& request) {
          request.kv_dtype = DType::kI8;
          request.calibration = {{"method", "awq"}, {"seed", 7}};
        });
  const Manifest manifest = load_manifest(directory());
  EXPECT_EQ(manifest.quantization,
            (Quantization{WeightFormat::kInt4, 32, WeightFormat::kInt8, {"down_proj"}}));
  EXPECT_EQ(manifest.kv_dtype, DType::kI8);
  EXPECT_EQ(manifest.calibration["method"], "awq");
  EXPECT_EQ(manifest.tool_version, IOL_VERSION);
  EXPECT_EQ(manifest.model["architecture"], "LlamaForCausalLM");
  EXPECT_EQ(manifest.model["config"]["hidden_size"], 32);
  EXPECT_EQ(manifest.source_model, "llama-bf16");
  ASSERT_EQ(manifest.source_files.size(), 2);
  for (const auto& file : manifest.source_files)
    EXPECT_EQ(file.sha256, sha256_of(read_file(kModels / "llama-bf16" / file.name))) << file.name;
  for (const auto& file : manifest.files)
    EXPECT_EQ(file.sha256, sha256_of(read_file(directory() / file.name))) << file.name;
}

/// Hands on what it is asked for, and remembers it.
class RecordingSource final : public WeightSource {
 public:
  explicit RecordingSource(const std::filesystem::path& folder) : checkpoint_(folder) {}
  [[nodiscard]] bool contains(const std::string& name) const override {
    return checkpoint_.contains(name);
  }
  std::unique_ptr<Lease> lease(const std::string& name) override {
    names.insert(name);
    return checkpoint_.lease(name);
  }
  std::set<std::string> names;

 private:
  Checkpoint checkpoint_;
};

TEST(ModelTensors, are_those_that_a_load_takes) {
  for (const char* name : {"llama", "llama-biases", "llama-tied", "qwen2", "qwen3"}) {
    RecordingSource source(kModels / name);
    const ModelConfig config = load_model_config(kModels / name);
    const auto backend = make_cpu_backend({std::nullopt, 1, DType::kF32});
    load_weights(config, source, *backend, {});
    std::set<std::string> listed;
    for (const auto& tensor : model_tensors(config, {})) listed.insert(tensor.name);
    EXPECT_EQ(listed, source.names) << name;
  }
}

TEST_F(EngineDirectoryWriter, refuses_an_output_that_holds_something) {
  write("notes.txt", "mine");
  EXPECT_THAT(message_of<InputError>([&] { build("llama", {}); }),
              HasSubstr("exists and is not empty; remove it, or choose another name"));
  EXPECT_EQ(read_file(directory() / "notes.txt"), "mine");
  EXPECT_THAT(message_of<InputError>([&] {
                build("llama", {}, [](auto& request) { request.output += "/notes.txt"; });
              }),
              HasSubstr("is not a folder"));
  EXPECT_THAT(message_of<InputError>([&] {
                build("llama", {}, [](auto& request) { request.output += "/no/where"; });
              }),
              HasSubstr("does not exist; create it first"));
  EXPECT_THAT(leavings(), ElementsAre("built"));
}

TEST_F(EngineDirectoryWriter, takes_an_empty_output) {
  std::filesystem::create_directory(directory());
  build("llama", {}, [](auto& request) { request.output += "/"; });
  EXPECT_NO_THROW(EngineDirectory(directory(), true));
  EXPECT_THAT(leavings(), ElementsAre("built"));
}

TEST_F(EngineDirectoryWriter, a_build_that_is_stopped_leaves_nothing) {
  struct Stop {};
  const auto stop_at = [](int percent) {
    return [percent](std::string_view, std::int64_t done, std::int64_t total) {
      if (done * 100 >= total * percent) throw Stop();
    };
  };
  for (const int percent : {0, 50, 99}) {
    EXPECT_THROW(build("llama", quantization(WeightFormat::kInt8), {}, stop_at(percent)), Stop)
        << percent;
    EXPECT_THAT(leavings(), IsEmpty()) << percent;
  }
}

TEST_F(EngineDirectoryWriter, refuses_weights_that_are_not_finite) {
  std::filesystem::copy(kModels / "llama", folder_.path() / "broken");
  const auto path = folder_.path() / "broken" / "model.safetensors";
  std::string file = read_file(path);
  {
    const auto tensors = parse_safetensors(std::as_bytes(std::span(file)), "broken");
    const auto& tensor = tensors.at("model.layers.1.mlp.up_proj.weight");
    const auto offset = reinterpret_cast<const char*>(tensor.data) - file.data();
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(file.data() + offset + 40, &nan, sizeof(nan));
  }
  folder_.write("broken/model.safetensors", file);
  EXPECT_THAT(message_of<InputError>([&] {
                build("llama", quantization(WeightFormat::kInt8),
                      [&](auto& request) { request.source_folder = folder_.path() / "broken"; });
              }),
              HasSubstr("tensor 'model.layers.1.mlp.up_proj.weight' holds NaN or infinity"));
  EXPECT_THAT(leavings(), ElementsAre("broken"));
}

TEST_F(EngineDirectoryWriter, refuses_groups_that_do_not_divide) {
  EXPECT_THAT(
      message_of<InputError>([&] { build("llama", quantization(WeightFormat::kInt4, 128)); }),
      HasSubstr("groups of 128 don't divide"));
  EXPECT_THAT(leavings(), IsEmpty());
}

TEST_F(EngineDirectoryWriter, keeps_what_is_quantized_already) {
  build("llama", quantization(WeightFormat::kInt4, 32));
  EngineDirectory first(directory(), false);
  BuildRequest request;
  request.output = folder_.path() / "again";
  request.source_model = "built";
  request.source_folder = directory();
  request.quantization = quantization(WeightFormat::kInt8);
  EXPECT_THAT(
      message_of<InputError>([&] { write_engine_directory(request, first.config(), first); }),
      HasSubstr("quantized already, to int4"));
  request.quantization = quantization(WeightFormat::kInt4, 32);
  write_engine_directory(request, first.config(), first);
  const std::string one = read_file(directory() / kOnlyFile);
  const std::string two = read_file(folder_.path() / "again" / kOnlyFile);
  EXPECT_NE(one, two);  // the build's id
  const auto a = parse_safetensors(std::as_bytes(std::span(one)), "one");
  const auto b = parse_safetensors(std::as_bytes(std::span(two)), "two");
  for (const auto& [name, tensor] : a) {
    const auto bytes = static_cast<std::size_t>(tensor.num_elements()) * dtype_bytes(tensor.dtype);
    EXPECT_EQ(std::memcmp(tensor.data, b.at(name).data, bytes), 0) << name;
  }
}

}  // namespace
}  // namespace iol::test
