// Which files of a folder hold a model's tensors, and what becomes of files that can't be read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/safetensors.h"
#include "tests/message_of.h"
#include "tests/temporary_folder.h"

namespace iol::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

/// A file with one f32 of `value` for each name.
std::string file_with(const std::vector<std::string>& names, float value) {
  json header = json::object();
  std::string data;
  for (const auto& name : names) {
    header[name] = {{"dtype", "F32"},
                    {"shape", json::array()},
                    {"data_offsets", {data.size(), data.size() + 4}}};
    data.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  const std::string text = header.dump();
  const std::uint64_t size = text.size();
  return std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + text + data;
}

class Shards : public testing::Test {
 protected:
  void write_index(const json& weight_map) const {
    folder_.write(kIndex, json{{"weight_map", weight_map}}.dump());
  }
  float value_of(const std::string& name) const {
    const SafetensorsFolder tensors(folder_.path());
    float value = 0;
    const HostTensor* tensor = tensors.find(name);
    if (tensor != nullptr) std::memcpy(&value, tensor->data, sizeof(value));
    return value;
  }
  std::string refusal() const {
    return message_of<InputError>([&] { SafetensorsFolder{folder_.path()}; });
  }

  TemporaryFolder folder_;
};

TEST_F(Shards, are_joined) {
  folder_.write("one.safetensors", file_with({"a", "b"}, 1));
  folder_.write("two.safetensors", file_with({"c"}, 2));
  write_index({{"a", "one.safetensors"}, {"b", "one.safetensors"}, {"c", "two.safetensors"}});
  EXPECT_EQ(value_of("b"), 1);
  EXPECT_EQ(value_of("c"), 2);
  EXPECT_EQ(SafetensorsFolder(folder_.path()).tensors().size(), 3U);
}

TEST_F(Shards, are_not_looked_at_beside_a_whole_file) {
  folder_.write(kSingle, file_with({"a"}, 3));
  folder_.write(kIndex, "broken");
  EXPECT_EQ(value_of("a"), 3);
}

TEST_F(Shards, that_the_index_does_not_name_are_not_looked_at) {
  folder_.write("one.safetensors", file_with({"a"}, 1));
  folder_.write("other.safetensors", "broken");
  write_index({{"a", "one.safetensors"}});
  EXPECT_EQ(value_of("a"), 1);
}

TEST_F(Shards, count_for_a_tensor_that_the_index_puts_into_another) {
  // As in transformers, which loads every file that the index names.
  folder_.write("one.safetensors", file_with({"a"}, 1));
  folder_.write("two.safetensors", file_with({"b"}, 2));
  write_index({{"a", "two.safetensors"}, {"b", "one.safetensors"}});
  EXPECT_EQ(value_of("a"), 1);
}

TEST_F(Shards, that_hold_a_tensor_twice_are_refused) {
  folder_.write("one.safetensors", file_with({"a"}, 1));
  folder_.write("two.safetensors", file_with({"a", "b"}, 2));
  write_index({{"a", "one.safetensors"}, {"b", "two.safetensors"}});
  EXPECT_THAT(refusal(), AllOf(HasSubstr("two.safetensors: tensor 'a' is also in another file")));
}

TEST_F(Shards, with_names_that_are_no_plain_file_names_are_refused_on_one_line) {
  folder_.write("one.safetensors", file_with({"a"}, 1));
  fs::create_directory(folder_.path() / "folder.safetensors");
  for (const std::string name :
       {"", ".", "..", "/", "../one.safetensors", "x/../one.safetensors", "./one.safetensors",
        "one.safetensors/", "/etc/hostname", "folder.safetensors", "no\nfile", "\x1b[31m",
        "no\xc2\x85", "missing.safetensors"}) {
    SCOPED_TRACE(json(name).dump());
    write_index({{"a", "one.safetensors"}, {"b", name}});
    EXPECT_THAT(refusal(), AllOf(HasSubstr(folder_.path().string()), Not(HasSubstr("\n")),
                                 Not(HasSubstr("\x1b"))));
  }
  // A path ends at a zero byte: the rest of the name must not vanish.
  write_index({{"a", std::string("one.safetensors\0.bin", 20)}});
  EXPECT_THAT(refusal(), HasSubstr("one.safetensors\\u0000.bin"));
  write_index({{"a", std::string(100'000, 'x')}});
  EXPECT_THAT(refusal(), HasSubstr(folder_.path().string()));
  EXPECT_LT(refusal().size(), 500U);
}

TEST_F(Shards, of_a_cache_are_links_and_are_followed) {
  folder_.write("blobs/0123", file_with({"a"}, 4));
  const fs::path snapshot = folder_.path() / "snapshot";
  fs::create_directory(snapshot);
  fs::create_symlink("../blobs/0123", snapshot / kSingle);
  EXPECT_NE(SafetensorsFolder(snapshot).find("a"), nullptr);
}

TEST_F(Shards, what_is_no_readable_file_is_refused_and_named) {
  const auto expect_refused = [&](const fs::path& named) {
    EXPECT_THAT(refusal(), AllOf(HasSubstr("'" + named.string()), Not(HasSubstr("\n"))));
  };
  for (const char* name : {kSingle, kIndex}) {
    SCOPED_TRACE(name);
    const fs::path path = folder_.path() / name;
    folder_.write(name, "");
    EXPECT_THAT(refusal(), HasSubstr(path.string()));
    fs::remove(path);
    fs::create_directory(path);
    expect_refused(path);
    fs::remove(path);
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);  // must not wait for a writer
    expect_refused(path);
    fs::remove(path);
    fs::create_symlink(name, path);  // a link to itself
    expect_refused(folder_.path());
    fs::remove(path);
    fs::create_symlink("nowhere", path);
    expect_refused(folder_.path());
    fs::remove(path);
  }
}

TEST_F(Shards, of_a_folder_that_is_not_there_are_refused) {
  for (const std::string& name :
       {std::string("/nowhere/at/all"), std::string("/dev/null"), std::string(5000, 'x')}) {
    EXPECT_THAT(message_of<InputError>([&] { SafetensorsFolder{fs::path(name)}; }),
                HasSubstr("has neither model.safetensors nor"));
  }
}

TEST_F(Shards, an_index_that_is_broken_is_refused_and_named) {
  for (const std::string& text :
       {std::string(""), std::string("{"), std::string("[]"), std::string("3"),
        std::string(R"({"metadata": {}})"), std::string(R"({"weight_map": []})"),
        std::string(R"({"weight_map": {"a": 1}})"), std::string(R"({"weight_map": {"a": null}})"),
        std::string(R"({"weight_map": {"a": ["one.safetensors"]}})"),
        std::string("{\"weight_map\": {\"a\": \"\xff\"}}"), std::string(1'000'000, '[')}) {
    folder_.write(kIndex, text);
    EXPECT_THAT(refusal(),
                AllOf(HasSubstr((folder_.path() / kIndex).string()), Not(HasSubstr("\n"))))
        << text.substr(0, 80);
  }
}

}  // namespace
}  // namespace iol::test
