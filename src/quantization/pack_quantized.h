#pragma once
#include <cstdint>

#include "quantization/stored_matrix.h"

namespace iol {

/// What config.json says of a matrix in compressed-tensors' pack-quantized form.
struct PackedScheme {
  int bits = 4;                 // 4 or 8
  std::int64_t group_size = 0;  // 0: a row is one group
  bool one_scale = false;       // for the whole matrix
  bool has_zero_points = false;
};

/// MODULE.weight_packed as int4, or with 8 bits as int8-wo. Throws InputError.
UnpackedMatrix unpack_pack_quantized(const StoredMatrix& stored, const PackedScheme& scheme);

}  // namespace iol
