// manifest.json: what is written is read back; anything else is refused by name.
#include "quantization/manifest.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "tests/message_of.h"
#include "tests/temporary_folder.h"

namespace iol::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

Manifest sample() {
  Manifest manifest;
  manifest.tool_version = "1.2.3";
  manifest.model = {{"architecture", "LlamaForCausalLM"}};
  manifest.quantization = {WeightFormat::kInt4, 64, WeightFormat::kFp8, {"down_proj"}};
  manifest.kv_dtype = DType::kF8E4M3;
  manifest.calibration = {{"seed", 1}};
  manifest.source_model = "demo";
  manifest.source_folder = "/models/demo";
  manifest.source_files = {{"config.json", 10, std::string(64, 'a')}};
  manifest.files = {{"weights-00001-of-00001.safetensors", 1, std::string(64, '0')}};
  manifest.build_id = build_id_of(manifest);
  return manifest;
}

TEST(ManifestTest, is_read_as_it_was_written) {
  const Manifest written = sample();
  const Manifest read = parse_manifest(manifest_text(written), "manifest.json");
  EXPECT_EQ(read.tool_version, written.tool_version);
  EXPECT_EQ(read.build_id, written.build_id);
  EXPECT_EQ(read.model, written.model);
  EXPECT_EQ(read.quantization, written.quantization);
  EXPECT_EQ(read.kv_dtype, written.kv_dtype);
  EXPECT_EQ(read.calibration, written.calibration);
  EXPECT_EQ(read.source_model, written.source_model);
  EXPECT_EQ(read.source_folder, written.source_folder);
  EXPECT_EQ(read.source_files, written.source_files);
  EXPECT_EQ(read.files, written.files);
  EXPECT_EQ(manifest_text(read), manifest_text(written));
}

TEST(ManifestTest, the_build_id_follows_from_source_and_settings) {
  const Manifest manifest = sample();
  Manifest other = manifest;
  other.quantization.group_size = 32;
  EXPECT_NE(build_id_of(other), manifest.build_id);
  other = manifest;
  other.calibration["seed"] = 2;
  EXPECT_NE(build_id_of(other), manifest.build_id);
  other = manifest;
  other.source_files[0].sha256[0] = 'b';
  EXPECT_NE(build_id_of(other), manifest.build_id);
}

struct Refusal {
  const char* path;   // of the field
  const char* value;  // JSON
  const char* message;
};

class ManifestRefuses : public testing::TestWithParam<Refusal> {};

TEST_P(ManifestRefuses, a_field_by_name) {
  json object = json::parse(manifest_text(sample()));
  object[json::json_pointer(GetParam().path)] = json::parse(GetParam().value);
  const std::string message =
      message_of<InputError>([&] { parse_manifest(object.dump(), "DIR/manifest.json"); });
  EXPECT_THAT(message, HasSubstr(GetParam().message));
  EXPECT_THAT(message, HasSubstr("DIR/manifest.json"));
}

const Refusal kRefusals[] = {
    {"/format", "\"other\"", "not the manifest of an engine directory"},
    {"/format", "null", "not the manifest of an engine directory"},
    {"/format_version", "2", "written in format version 2"},
    {"/format_version", "\"1\"", "'format_version' is \"1\""},
    {"/build_id", "\"xyz\"", "32 hexadecimal digits"},
    {"/model", "[]", "'model' is []"},
    {"/quantization/format", "\"int3\"", "none, int8, int8-wo, fp8 or int4"},
    {"/quantization/group_size", "24", "a multiple of 16"},
    {"/quantization/group_size", "0", "'quantization.group_size' is 0"},
    {"/quantization/keep", "3", "a list of strings"},
    {"/kv_cache", "\"int3\"", "'kv_cache' is \"int3\""},
    {"/calibration", "3", "'calibration' is 3"},
    {"/source", "null", "'source' is missing"},
    {"/files", "{}", "a list of files"},
    {"/files/0", "7", "not a JSON object"},
    {"/files/0/name", "\"../../etc/passwd\"", "'files.name'"},
    {"/files/0/name", "\"..\"", "'files.name'"},
    {"/files/0/name", "\"\"", "'files.name'"},
    {"/files/0/size_bytes", "-1", "'files.size_bytes' is -1"},
    {"/files/0/sha256", "\"00\"", "64 hexadecimal digits"},
};

INSTANTIATE_TEST_SUITE_P(Manifest, ManifestRefuses, testing::ValuesIn(kRefusals));

TEST(ManifestTest, refuses_a_file_that_is_listed_twice) {
  Manifest manifest = sample();
  manifest.files.push_back(manifest.files[0]);
  EXPECT_THAT(message_of<InputError>([&] { parse_manifest(manifest_text(manifest), "m"); }),
              HasSubstr("the name of one more file"));
}

TEST(ManifestTest, refuses_what_is_not_json) {
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string(100'000, '[')}) {
    EXPECT_THAT(message_of<InputError>([&] { parse_manifest(text, "m"); }),
                HasSubstr("truncated or broken"));
  }
}

TEST(ManifestTest, a_checkpoint_with_some_manifest_is_no_engine_directory) {
  const TemporaryFolder folder;
  folder.write("manifest.json", "{}");
  EXPECT_TRUE(is_engine_directory(folder.path()));
  folder.write("model.safetensors", "");
  EXPECT_FALSE(is_engine_directory(folder.path()));
}

}  // namespace
}  // namespace iol::test
