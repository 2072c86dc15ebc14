#include "report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "tests/report/sample_records.h"
#include "tests/report/temporary_folder.h"

namespace iol::report {
namespace {

TEST(WriteReport, writes_a_sample_to_look_at) {
  const char* where = std::getenv("IOL_SAMPLE_REPORT");
  const TemporaryFolder temporary;
  const std::filesystem::path folder = where != nullptr ? where : temporary.path();
  sample::SampleRun(sample::SampleOptions{}).write(folder);
  write_report(folder, folder);
  for (const char* name : {"summary.json", "report.md", "report.html"}) {
    EXPECT_TRUE(std::filesystem::is_regular_file(folder / name)) << name;
  }
}

}  // namespace
}  // namespace iol::report
