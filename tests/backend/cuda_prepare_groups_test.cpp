// int8 rows in groups for int4 matrices, against the formula computed on the host. Needs a GPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "backend/cuda/cuda_device.h"
#include "bench/kernels/linear_case.h"
#include "tests/backend/device_numbers.h"

namespace iol::cuda {
namespace {

struct GroupCase {
  int columns, group_size, num_rows;
  bool has_norm, has_order;
  RowForm form;
};

// Groups that a warp holds at once, that it walks over, that are padded, in both orders of rows.
const GroupCase kCases[] = {
    {2048, 128, 5, true, false, RowForm::kPlain},    {2048, 128, 5, false, false, RowForm::kDealt},
    {5632, 128, 66, false, false, RowForm::kDealt},  {5632, 128, 3, true, true, RowForm::kPlain},
    {1472, 64, 9, true, false, RowForm::kDealt},     {1472, 64, 9, false, true, RowForm::kDealt},
    {2304, 96, 11, false, false, RowForm::kDealt},   {720, 48, 10, true, false, RowForm::kDealt},
    {1024, 256, 2, false, false, RowForm::kPlain},   {592, 592, 12, false, true, RowForm::kDealt},
    {14336, 128, 17, false, false, RowForm::kDealt},
};

/// Of every 8 numbers 3 are +-1.5 and 5 are +-0.5, so that RMSNorm's factor is 1.
std::vector<float> numbers_of_norm_one(std::size_t count, RandomStream& random) {
  std::vector<float> x(count);
  for (std::size_t i = 0; i < count; ++i)
    x[i] = (i % 8 < 3 ? 1.5F : 0.5F) * (random.below(2) == 0 ? 1.0F : -1.0F);
  for (std::size_t i = 0; i < count; ++i) std::swap(x[i], x[i - i % 8 + random.below(8)]);
  return x;
}

void expect_groups_of(const GroupCase& shape) {
  const LinearShape linear = {
      "", MatrixLayout::kInt4, 64, shape.columns, 1, Epilogue::kStore, shape.group_size};
  MatrixView matrix = view_of(linear);
  const auto columns = static_cast<std::size_t>(shape.columns);
  const auto rows = static_cast<std::size_t>(shape.num_rows);
  const auto padded = static_cast<std::size_t>(matrix.padded_columns);
  const auto groups = static_cast<std::size_t>(matrix.num_groups);
  RandomStream random(11);
  std::vector<float> x = numbers_of_norm_one(rows * columns, random);
  std::vector<float> norm(columns);
  for (auto& weight : norm) weight = static_cast<float>(random.uniform() * 4 - 2);
  if (!shape.has_norm) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] *= norm[i % columns];
    std::fill_n(x.begin() + static_cast<std::ptrdiff_t>(columns), shape.group_size, 0.0F);
  }
  std::vector<std::int32_t> order(columns);
  for (std::size_t i = 0; i < columns; ++i) order[i] = static_cast<std::int32_t>(i);
  if (shape.has_order) {
    for (std::size_t i = columns - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
  }

  const DeviceBuffer x_buffer = upload(x);
  const DeviceBuffer norm_buffer = upload(norm);
  const DeviceBuffer order_buffer = upload(order);
  if (shape.has_order) matrix.input_order = order_buffer.as<const std::int32_t>();
  const DeviceBuffer codes(rows * padded, "codes");
  const auto stride = static_cast<std::size_t>(dealt_scales(shape.num_rows));
  const DeviceBuffer scales(stride * groups * 4, "scales");
  const DeviceBuffer sums(stride * groups * 4, "sums");
  PrepareTask task;
  task.source = {x_buffer.data(),
                 Element::kF32,
                 shape.columns,
                 shape.has_norm ? norm_buffer.as<const float>() : nullptr,
                 0.0,
                 {}};
  task.num_rows = shape.num_rows;
  task.matrix = matrix;
  task.out.values = codes.data();
  task.out.scales = scales.as<float>();
  task.out.sums = sums.as<std::int32_t>();
  task.out.form = shape.form;
  const Stream stream;
  prepare_rows(task, stream.get());
  check_launch("preparing rows");
  stream.synchronize("preparing rows");

  const auto got_codes = download<std::int8_t>(codes);
  const auto got_scales = download<float>(scales);
  const auto got_sums = download<std::int32_t>(sums);
  const bool is_dealt = shape.form == RowForm::kDealt;
  const int run = run_pieces(matrix.layout, shape.form);
  for (std::size_t row = 0; row < rows; ++row) {
    std::vector<std::int8_t> want(padded);
    for (std::size_t group = 0; group < groups; ++group) {
      std::vector<float> y;
      for (int i = 0; i < shape.group_size; ++i) {
        const auto column =
            static_cast<std::size_t>(order[group * static_cast<std::size_t>(shape.group_size) +
                                           static_cast<std::size_t>(i)]);
        y.push_back(x[row * columns + column] * (shape.has_norm ? norm[column] : 1.0F));
      }
      float largest = 0;
      for (const float value : y) largest = std::max(largest, std::fabs(value));
      const float inverse = largest > 0 ? 127.0F / largest : 0.0F;
      int sum = 0;
      for (int i = 0; i < shape.group_size; ++i) {
        const float code = std::nearbyint(y[static_cast<std::size_t>(i)] * inverse);
        const int column = static_cast<int>(group) * matrix.padded_group + i;
        want[static_cast<std::size_t>(dealt_column(column, 1, run))] =
            static_cast<std::int8_t>(code);
        sum += static_cast<int>(code);
      }
      const std::size_t at = is_dealt ? group * stride + row : row * groups + group;
      ASSERT_EQ(got_scales[at], largest / 127.0F) << "row " << row << ", group " << group;
      if (!is_dealt) {
        ASSERT_EQ(got_sums[at], sum) << "row " << row << ", group " << group;
      }
    }
    for (std::size_t i = 0; i < padded; ++i)
      ASSERT_EQ(got_codes[row * padded + i], want[i]) << "row " << row << ", place " << i;
  }
}

TEST(CudaPrepareGroups, codes_scales_and_sums_are_those_of_the_formula) {
  if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  for (const GroupCase& shape : kCases) {
    SCOPED_TRACE(testing::Message()
                 << shape.columns << " columns in groups of " << shape.group_size);
    expect_groups_of(shape);
  }
}

}  // namespace
}  // namespace iol::cuda
