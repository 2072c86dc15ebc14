#include "quantization/column_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace iol {

std::vector<std::int32_t> columns_by_group(const StoredMatrix& stored, std::string_view part,
                                           std::int64_t num_columns, std::int64_t group_size) {
  const auto groups = stored.integers(part, num_columns);
  const std::int64_t num_groups = num_columns / group_size;
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(num_groups));
  for (const std::int64_t group : groups) {
    if (group < 0 || group >= num_groups) {
      stored.refuse(part, fmt::format("names group {}, but there are {}; the checkpoint is damaged",
                                      group, num_groups));
    }
    ++sizes[static_cast<std::size_t>(group)];
  }
  for (std::size_t g = 0; g < sizes.size(); ++g) {
    if (sizes[g] != group_size) {
      stored.refuse(part,
                    fmt::format("gives {} columns to group {}; this engine needs groups of {} "
                                "columns, use the unquantized checkpoint with --quant",
                                sizes[g], g, group_size));
    }
  }
  if (std::is_sorted(groups.begin(), groups.end())) return {};
  std::vector<std::int32_t> order(groups.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return groups[static_cast<std::size_t>(a)] < groups[static_cast<std::size_t>(b)];
  });
  return order;
}

void reorder_columns(UnpackedMatrix& matrix, std::vector<std::int32_t> order) {
  if (order.empty()) return;
  const auto row_bytes = static_cast<std::size_t>(matrix.columns / 2);
  IOL_CHECK(order.size() == 2 * row_bytes && matrix.values.size() % row_bytes == 0);
  std::vector<std::uint8_t> row(row_bytes);
  for (std::size_t begin = 0; begin < matrix.values.size(); begin += row_bytes) {
    const std::uint8_t* values = matrix.values.data() + begin;
    const auto code = [&](std::int32_t k) {
      return k % 2 == 0 ? values[k / 2] & 15U : values[k / 2] >> 4U;
    };
    for (std::size_t j = 0; j < row_bytes; ++j)
      row[j] = static_cast<std::uint8_t>(code(order[2 * j]) | code(order[2 * j + 1]) << 4U);
    std::copy(row.begin(), row.end(), matrix.values.begin() + static_cast<std::ptrdiff_t>(begin));
  }
  matrix.input_order = std::move(order);
}

}  // namespace iol
