// Mapped files and huge buffers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>

#include "base/error.h"
#include "base/huge_buffer.h"
#include "base/mapped_file.h"

namespace iol {
namespace {

using ::testing::HasSubstr;

class MappedFileTest : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }

  const std::filesystem::path path_ =
      std::filesystem::path(testing::TempDir()) / ("mapped_" + std::to_string(::getpid()));
};

TEST_F(MappedFileTest, shows_the_bytes_of_the_file) {
  std::ofstream(path_) << "abc";
  MappedFile file(path_);
  file.will_read();
  ASSERT_EQ(file.bytes().size(), 3);
  EXPECT_EQ(file.bytes()[2], std::byte{'c'});
  const MappedFile moved = std::move(file);
  EXPECT_EQ(moved.bytes().size(), 3);
  EXPECT_EQ(file.bytes().size(), 0);  // NOLINT(bugprone-use-after-move): that it is empty
}

TEST_F(MappedFileTest, an_empty_file_has_no_bytes) {
  std::ofstream{path_};
  EXPECT_TRUE(MappedFile(path_).bytes().empty());
}

TEST_F(MappedFileTest, refuses_what_is_not_a_readable_file_and_names_it) {
  for (const char* path : {"/nowhere/file", "/tmp", "/dev/null", ""}) {
    try {
      const MappedFile file{path};
      FAIL() << path;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("'" + std::string(path) + "'"));
    }
  }
}

TEST_F(MappedFileTest, a_pipe_is_refused_without_waiting_for_its_writer) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THROW(MappedFile{path_}, InputError);
}

TEST_F(MappedFileTest, a_path_that_leads_nowhere_does_not_exist) {
  EXPECT_FALSE(path_exists(path_));
  EXPECT_FALSE(path_exists(std::string(5000, 'x')));
  std::filesystem::create_symlink(path_.filename(), path_);  // a link to itself
  EXPECT_FALSE(path_exists(path_));
  EXPECT_TRUE(path_exists("/"));
}

TEST(HugeBuffer, is_aligned_zero_and_writable) {
  const HugeBuffer buffer((5 << 20) + 3);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % (2 << 20), 0);
  ASSERT_EQ(buffer.size_bytes(), (5 << 20) + 3);
  const auto* end = buffer.data() + buffer.size_bytes();
  EXPECT_TRUE(std::all_of(buffer.data(), const_cast<std::byte*>(end),
                          [](std::byte value) { return value == std::byte{0}; }));
  std::fill(buffer.data(), buffer.data() + buffer.size_bytes(), std::byte{1});
}

TEST(HugeBuffer, refuses_more_than_there_is_and_says_what_to_do) {
  try {
    const HugeBuffer buffer(std::size_t{1} << 60);
    FAIL();
  } catch (const ResourceError& error) {
    EXPECT_THAT(error.what(), HasSubstr("iol plan"));
  }
}

TEST(HugeBuffer, moves_and_may_be_empty) {
  HugeBuffer first(100);
  const std::byte* data = first.data();
  const HugeBuffer second = std::move(first);
  EXPECT_EQ(second.data(), data);
  EXPECT_EQ(HugeBuffer().size_bytes(), 0);
  EXPECT_EQ(HugeBuffer(0).size_bytes(), 0);
}

}  // namespace
}  // namespace iol
