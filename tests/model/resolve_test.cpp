// What a MODEL argument names.
#include "model/resolve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"
#include "tests/message_of.h"
#include "tests/temporary_folder.h"

namespace iol::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

/// A Hugging Face cache with one downloaded model, and no variable set that could hide it.
class HubCache : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : kVariables) ::unsetenv(name);
    ::setenv("HOME", home_.path().c_str(), 1);
  }
  void TearDown() override {
    for (const char* name : kVariables) ::unsetenv(name);
  }
  /// Lays a snapshot into the cache folder `cache` and returns its path.
  fs::path download(const std::string& cache, const std::string& revision, bool with_branch) const {
    const std::string repository = cache + "/models--org--name";
    home_.write(repository + "/snapshots/" + revision + "/config.json", "{}");
    if (with_branch) home_.write(repository + "/refs/main", revision);
    return home_.path() / repository / "snapshots" / revision;
  }

  static constexpr const char* kVariables[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME",
                                               "XDG_CACHE_HOME"};
  TemporaryFolder home_;
};

TEST_F(HubCache, is_found_under_the_home_folder) {
  const auto snapshot = download(".cache/huggingface/hub", "abc", true);
  EXPECT_EQ(resolve_model("org/name").folder, snapshot);
}

TEST_F(HubCache, is_found_where_each_variable_says_in_order_of_precedence) {
  const auto lowest = download("xdg/huggingface/hub", "a", true);
  const auto home = download("hf/hub", "b", true);
  const auto legacy = download("legacy", "c", true);
  const auto highest = download("cache", "d", true);
  const auto set = [&](const char* name, const char* folder) {
    ::setenv(name, (home_.path() / folder).c_str(), 1);
  };
  set("XDG_CACHE_HOME", "xdg");
  EXPECT_EQ(resolve_model("org/name").folder, lowest);
  set("HF_HOME", "hf");
  EXPECT_EQ(resolve_model("org/name").folder, home);
  set("HUGGINGFACE_HUB_CACHE", "legacy");
  EXPECT_EQ(resolve_model("org/name").folder, legacy);
  set("HF_HUB_CACHE", "cache");
  EXPECT_EQ(resolve_model("org/name").folder, highest);
}

TEST_F(HubCache, gives_the_revision_of_the_main_branch) {
  download(".cache/huggingface/hub", "old", false);
  const auto main = download(".cache/huggingface/hub", "new", true);
  EXPECT_EQ(resolve_model("org/name").folder, main);
}

TEST_F(HubCache, gives_the_only_snapshot_where_there_is_no_branch) {
  const auto snapshot = download(".cache/huggingface/hub", "abc", false);
  EXPECT_EQ(resolve_model("org/name").folder, snapshot);
}

TEST_F(HubCache, what_is_not_there_names_the_command_that_downloads_it) {
  EXPECT_THAT(message_of<InputError>([] { resolve_model("org/name"); }),
              AllOf(HasSubstr(home_.path().string()), HasSubstr("hf download org/name")));
}

TEST_F(HubCache, a_broken_branch_counts_as_none) {
  const auto snapshot = download(".cache/huggingface/hub", "abc", false);
  const auto write_branch = [&](const std::string& content) {
    home_.write(".cache/huggingface/hub/models--org--name/refs/main", content);
  };
  for (const std::string& revision :
       {std::string(""), std::string("\n"), std::string("gone"), std::string(5000, 'a')}) {
    write_branch(revision);
    EXPECT_EQ(resolve_model("org/name").folder, snapshot) << revision.substr(0, 40);
  }
}

TEST_F(HubCache, a_snapshot_without_config_is_no_download) {
  download(".cache/huggingface/hub", "abc", true);
  const fs::path folder = home_.path() / ".cache/huggingface/hub/models--org--name/snapshots/abc";
  fs::remove(folder / "config.json");
  fs::create_symlink("config.json", folder / "config.json");  // a link to itself
  EXPECT_THAT(message_of<InputError>([] { resolve_model("org/name"); }),
              HasSubstr("hf download org/name"));
}

TEST_F(HubCache, names_that_are_no_hub_id_do_not_reach_the_cache) {
  for (const char* name : {"", "name", "a/b/c", "/name", "org/", "../name", "org/..", "a b/c"}) {
    EXPECT_THAT(message_of<InputError>([&] { resolve_model(name); }),
                HasSubstr("expected a model folder"))
        << name;
  }
}

TEST(Resolve, a_folder_is_itself_even_when_it_looks_like_a_hub_id) {
  const TemporaryFolder folder;
  folder.write("org/name/config.json", "{}");
  const auto before = fs::current_path();
  fs::current_path(folder.path());
  EXPECT_EQ(resolve_model("org/name").folder, "org/name");
  fs::current_path(before);
}

TEST(Resolve, demo_is_found_from_any_working_directory) {
  const auto before = fs::current_path();
  fs::current_path("/");
  const auto found = find_shipped("books-16m");  // beside the test program, in the source tree
  fs::current_path(before);
  ASSERT_TRUE(found);
  EXPECT_TRUE(fs::exists(*found / "config.json"));
}

TEST(Resolve, demo_is_found_from_a_working_directory_that_was_removed) {
  const auto before = fs::current_path();
  {
    const TemporaryFolder folder;
    fs::current_path(folder.path());
  }
  EXPECT_NO_THROW({
    EXPECT_TRUE(fs::exists(resolve_model("demo").folder / "config.json"));
    EXPECT_FALSE(find_shipped("not-there"));
  });
  fs::current_path(before);
}

TEST(Resolve, a_broken_name_of_the_folder_of_models_is_passed_over) {
  for (const std::string& folder : {std::string(5000, 'x'), std::string("/dev/null")}) {
    ::setenv("IOL_MODELS_DIR", folder.c_str(), 1);
    EXPECT_NO_THROW(EXPECT_TRUE(find_shipped("books-16m")));
  }
  ::unsetenv("IOL_MODELS_DIR");
}

TEST(Resolve, a_file_is_no_model) {
  const TemporaryFolder folder;
  folder.write("model.safetensors", "");
  const auto file = (folder.path() / "model.safetensors").string();
  EXPECT_THAT(message_of<InputError>([&] { resolve_model(file); }),
              AllOf(HasSubstr("'" + file + "' is a file"), HasSubstr("expected a model folder")));
}

TEST(Resolve, shipped_files_are_looked_for_in_the_named_folder_first) {
  const TemporaryFolder folder;
  folder.write("books-16m/config.json", "{}");
  ::setenv("IOL_MODELS_DIR", folder.path().c_str(), 1);
  EXPECT_EQ(resolve_model("demo").folder, folder.path() / "books-16m");
  ::unsetenv("IOL_MODELS_DIR");
}

TEST(Resolve, synthetic_names_lose_their_prefix) {
  EXPECT_EQ(resolve_model("synthetic:tinyllama-1.1b").synthetic, "tinyllama-1.1b");
}

}  // namespace
}  // namespace iol::test
