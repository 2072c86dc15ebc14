#pragma once
// Bad usage or input, as every command meets it: exit code 2 and one line that says what and where.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/run_iol.h"

namespace iol {

inline void expect_refused(const std::string& arguments, const std::string& message) {
  const Outcome outcome = run_iol(arguments);
  EXPECT_EQ(outcome.exit_code, 2) << arguments;
  EXPECT_THAT(outcome.error, ::testing::StartsWith("iol: ")) << arguments;
  EXPECT_THAT(outcome.error, ::testing::HasSubstr(message)) << arguments;
  EXPECT_EQ(std::count(outcome.error.begin(), outcome.error.end(), '\n'), 1) << outcome.error;
  EXPECT_EQ(outcome.out, "") << arguments;
}

}  // namespace iol
