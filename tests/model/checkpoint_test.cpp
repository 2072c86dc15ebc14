// Model folders: one file or shards, and what is wrong with those that can't be loaded.
#include "model/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/random.h"
#include "engine/loaded_model.h"
#include "tests/message_of.h"
#include "tests/temporary_folder.h"

namespace iol::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const std::filesystem::path kModels = IOL_SOURCE_DIR "/tests/goldens/models";

/// Most memory that the process ever held.
std::int64_t peak_kilobytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

/// A copy of a small checkpoint that a test may break.
class BrokenCheckpoint : public testing::Test {
 protected:
  void copy(const std::string& name) {
    std::filesystem::copy(kModels / name, folder_.path(),
                          std::filesystem::copy_options::recursive |
                              std::filesystem::copy_options::overwrite_existing);
  }
  json read_json(const std::string& name) const {
    return json::parse(std::ifstream(folder_.path() / name));
  }
  std::string read(const std::string& name) const {
    std::ifstream file(folder_.path() / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  /// Changes the header of the safetensors file; the data stays.
  template <class Change>
  void change_header(Change&& change) {
    const std::string whole = read("model.safetensors");
    std::uint64_t size = 0;
    std::memcpy(&size, whole.data(), sizeof(size));
    json header = json::parse(whole.substr(8, size));
    change(header);
    const std::string text = header.dump();
    std::string prefix(8, '\0');
    const std::uint64_t new_size = text.size();
    std::memcpy(prefix.data(), &new_size, sizeof(new_size));
    folder_.write("model.safetensors", prefix + text + whole.substr(8 + size));
  }
  LoadedModel load() const {
    EngineConfig config;
    config.model = folder_.path().string();
    config.num_threads = 1;
    return load_model(config);
  }
  std::string load_error() const {
    return message_of<InputError>([&] { load(); });
  }

  TemporaryFolder folder_;
};

TEST_F(BrokenCheckpoint, without_weights_is_refused) {
  copy("llama");
  std::filesystem::remove(folder_.path() / "model.safetensors");
  EXPECT_THAT(load_error(), HasSubstr("has neither model.safetensors nor"));
}

TEST_F(BrokenCheckpoint, truncated_weights_are_refused) {
  copy("llama");
  const std::string whole = read("model.safetensors");
  for (const std::size_t size : {std::size_t{0}, std::size_t{100}, whole.size() - 1}) {
    folder_.write("model.safetensors", whole.substr(0, size));
    EXPECT_THAT(load_error(), AllOf(HasSubstr("model.safetensors"), Not(HasSubstr("\n"))));
  }
}

TEST_F(BrokenCheckpoint, a_missing_tensor_is_named) {
  copy("llama");
  change_header([](json& header) { header.erase("model.layers.1.mlp.up_proj.weight"); });
  EXPECT_THAT(load_error(), HasSubstr("'model.layers.1.mlp.up_proj.weight' is missing"));
}

TEST_F(BrokenCheckpoint, a_tensor_of_the_wrong_shape_is_named_with_both_shapes) {
  copy("llama");
  std::string shape;
  change_header([&](json& header) {
    auto& extents = header["model.layers.0.mlp.down_proj.weight"]["shape"];
    std::swap(extents[0], extents[1]);
    shape = fmt::format("{}, {}", extents[0].get<int>(), extents[1].get<int>());
  });
  EXPECT_THAT(load_error(), AllOf(HasSubstr("model.layers.0.mlp.down_proj.weight"),
                                  HasSubstr(shape), HasSubstr("config.json implies")));
}

TEST_F(BrokenCheckpoint, a_tensor_of_the_wrong_dtype_is_named) {
  copy("llama");
  change_header([](json& header) {
    auto& tensor = header["model.norm.weight"];
    tensor["dtype"] = "I32";
  });
  EXPECT_THAT(load_error(), AllOf(HasSubstr("'model.norm.weight' is i32"), Not(HasSubstr("\n"))));
}

TEST_F(BrokenCheckpoint, a_config_that_contradicts_the_weights_is_refused) {
  copy("llama");
  json config = read_json("config.json");
  config["intermediate_size"] = config["intermediate_size"].get<int>() * 2;
  folder_.write("config.json", config.dump());
  EXPECT_THAT(load_error(), HasSubstr("mlp"));
}

TEST_F(BrokenCheckpoint, without_a_head_is_refused_unless_it_is_tied) {
  copy("llama");
  change_header([](json& header) { header.erase("lm_head.weight"); });
  EXPECT_THAT(load_error(), AllOf(HasSubstr("'lm_head.weight' is missing"),
                                  HasSubstr(folder_.path().string()), Not(HasSubstr("\n"))));
  json config = read_json("config.json");
  config["tie_word_embeddings"] = true;
  folder_.write("config.json", config.dump());
  EXPECT_EQ(load().weights.head, nullptr);
}

TEST_F(BrokenCheckpoint, of_another_family_lacks_the_tensors_that_it_names) {
  copy("llama");
  json config = read_json("config.json");
  const struct {
    const char* architecture;
    const char* missing;
  } families[] = {{"Qwen2ForCausalLM", "'model.layers.0.self_attn.q_proj.bias' is missing"},
                  {"Qwen3ForCausalLM", "'model.layers.0.self_attn.q_norm.weight' is missing"}};
  for (const auto& [architecture, missing] : families) {
    config["architectures"] = {architecture};
    folder_.write("config.json", config.dump());
    EXPECT_THAT(load_error(), HasSubstr(missing));
  }
}

TEST_F(BrokenCheckpoint, with_a_broken_generation_config_is_refused) {
  copy("llama");
  for (const char* content : {"{", "[]", R"({"eos_token_id": "</s>"})", R"({"eos_token_id": -1})",
                              R"({"bos_token_id": 1.5})"}) {
    folder_.write("generation_config.json", content);
    EXPECT_THAT(load_error(), AllOf(HasSubstr("generation_config.json: "), Not(HasSubstr("\n"))));
  }
  folder_.write("generation_config.json", R"({"eos_token_id": [7, 9], "bos_token_id": 3})");
  const ModelConfig config = load().config;
  EXPECT_EQ(config.eos_token_ids, (std::vector<std::int32_t>{7, 9}));
  EXPECT_EQ(config.bos_token_id, 3);
}

TEST_F(BrokenCheckpoint, shards_that_do_not_hold_what_the_index_says_are_refused) {
  const std::string index_name = "model.safetensors.index.json";
  copy("llama-f16-sharded");
  const json index = read_json(index_name);
  const std::string tensor = index["weight_map"].begin().key();
  const struct {
    json shard;
    std::string part;
  } lies[] = {{"missing.safetensors", "missing.safetensors"},
              {"../outside.safetensors", "not the name of a file in the folder"},
              {"/etc/passwd", "not the name of a file in the folder"},
              {"", "not the name of a file in the folder"},
              {3, "names no file"}};
  for (const auto& [shard, part] : lies) {
    json broken = index;
    broken["weight_map"][tensor] = shard;
    folder_.write(index_name, broken.dump());
    EXPECT_THAT(load_error(), AllOf(HasSubstr(part), Not(HasSubstr("\n"))));
  }
  for (const char* content : {"", "{", "[]", "{}", R"({"weight_map": 3})"}) {
    folder_.write(index_name, content);
    EXPECT_THAT(load_error(), HasSubstr(index_name)) << content;
  }
  json broken = index;
  broken["weight_map"]["not.there"] = broken["weight_map"].begin().value();
  folder_.write(index_name, broken.dump());
  EXPECT_THAT(load_error(), HasSubstr("'not.there' is not in any of the files"));
}

TEST_F(BrokenCheckpoint, flipped_bits_load_or_are_refused) {
  copy("llama");
  const std::string weights = read("model.safetensors");
  const std::string config = read("config.json");
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, weights.data(), sizeof(header_size));
  RandomStream random(5);
  const std::int64_t peak_before = peak_kilobytes();
  int num_loaded = 0;
  for (int i = 0; i < 600; ++i) {
    std::string flipped = i % 2 == 0 ? weights : config;
    const std::size_t most = i % 2 == 0 ? 8 + header_size : config.size();
    flipped[random.below(most)] ^= static_cast<char>(1U << random.below(8));
    folder_.write(i % 2 == 0 ? "model.safetensors" : "config.json", flipped);
    try {
      load();
      ++num_loaded;
    } catch (const InternalError& error) {
      ADD_FAILURE() << error.what();
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
    }
    folder_.write("model.safetensors", weights);
    folder_.write("config.json", config);
  }
  EXPECT_GT(num_loaded, 0);
  EXPECT_LT(num_loaded, 450);
  EXPECT_LT(peak_kilobytes() - peak_before, 500'000) << "the checkpoint is of 134 kB";
}

TEST(Checkpoint, shards_give_every_tensor_of_the_index) {
  const Checkpoint checkpoint(kModels / "llama-f16-sharded");
  const json index =
      json::parse(std::ifstream(kModels / "llama-f16-sharded" / "model.safetensors.index.json"));
  for (const auto& [name, shard] : index["weight_map"].items())
    EXPECT_TRUE(checkpoint.contains(name));
  EXPECT_FALSE(checkpoint.contains("not.there"));
}

}  // namespace
}  // namespace iol::test
