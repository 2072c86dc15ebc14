#pragma once
// GPTQ's act-order: columns are quantized by falling importance, so that the columns of a group are
// scattered over the matrix and g_idx[k] names the group of column k. Our kernels read groups that
// lie together; the columns are sorted by group, and the inputs are gathered in that order.
#include <string_view>

#include "quantization/stored_matrix.h"

namespace iol {

/// The columns 0..K-1 of an int4 matrix stably sorted by MODULE.`part` (g_idx, i32 [K]); empty when
/// they are sorted already. Throws InputError when a group does not exist or does not have
/// `group_size` columns.
std::vector<std::int32_t> columns_by_group(const StoredMatrix& stored, std::string_view part,
                                           std::int64_t num_columns, std::int64_t group_size);

/// Puts the columns of `matrix` (int4, unpacked values) into this order and records it.
void reorder_columns(UnpackedMatrix& matrix, std::vector<std::int32_t> order);

}  // namespace iol
