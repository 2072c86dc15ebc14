#include "backend/stacked_rows.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"

namespace iol::test {
namespace {

StackedMatrix stack_of(const std::vector<std::int64_t>& rows, Stacking stacking) {
  StackedMatrix source;
  source.stacking = stacking;
  for (const auto count : rows) {
    HostTensor part;
    part.shape = {count, 4};
    source.parts.push_back(part);
  }
  return source;
}

/// Every row of every part has a place of its own, from which the way back leads to it; the places
/// left over are padding.
void expect_bijection(const StackedMatrix& source) {
  std::set<std::int64_t> taken;
  std::int64_t base = 0;
  for (std::size_t p = 0; p < source.parts.size(); ++p) {
    for (std::int64_t row = 0; row < source.parts[p].shape[0]; ++row) {
      const auto stacked = stacked_row(source, static_cast<int>(p), base, row);
      EXPECT_TRUE(taken.insert(stacked).second) << stacked;
      const RowOrigin origin = origin_of(source, stacked);
      EXPECT_EQ(origin.part, &source.parts[p]);
      EXPECT_EQ(origin.row, row);
      EXPECT_FALSE(origin.is_padding());
    }
    base += source.parts[p].shape[0];
  }
  EXPECT_LT(*taken.rbegin(), stacked_rows(source));
  for (std::int64_t row = 0; row < stacked_rows(source); ++row)
    EXPECT_EQ(origin_of(source, row).is_padding(), !taken.contains(row)) << row;
}

TEST(StackedRows, concatenated_parts_follow_each_other) {
  const auto source = stack_of({5, 1, 17}, Stacking::kConcatenated);
  EXPECT_EQ(stacked_rows(source), 23);
  EXPECT_EQ(stacked_row(source, 2, 6, 3), 9);
  expect_bijection(source);
}

TEST(StackedRows, interleaved_parts_alternate_in_blocks_of_sixteen) {
  const auto source = stack_of({33, 33}, Stacking::kInterleaved);
  EXPECT_EQ(stacked_rows(source), 96);
  EXPECT_EQ(stacked_row(source, 0, 0, 15), 15);
  EXPECT_EQ(stacked_row(source, 1, 33, 0), 16);
  EXPECT_EQ(stacked_row(source, 0, 0, 16), 32);
  expect_bijection(source);
  expect_bijection(stack_of({48, 48, 48}, Stacking::kInterleaved));
}

TEST(StackedRows, rows_outside_and_empty_stacks_are_errors) {
  const auto source = stack_of({5, 1}, Stacking::kConcatenated);
  EXPECT_THROW(static_cast<void>(origin_of(source, 6)), InternalError);
  EXPECT_THROW(static_cast<void>(stacked_rows(StackedMatrix{})), InternalError);
}

}  // namespace
}  // namespace iol::test
