#pragma once
// A matrix, row by row, as an engine directory stores it (the layout of quantized_tensor.h).
#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/thread_pool.h"

namespace iol {

/// Bytes of one row's numbers.
std::int64_t stored_row_bytes(WeightFormat format, std::int64_t num_columns);

struct StoredScales {
  std::vector<float> scales;        // [N, G]
  std::vector<std::uint8_t> zeros;  // [N, G]; int4 only
};

/// Calls write(offset, bytes) for the numbers of the matrix, piece after piece in order, and
/// returns its scales. A plain `tensor` [N, K] is quantized to `format`; a quantized one has to be
/// in it, and in this group size, and is taken as it is. Throws InputError naming the tensor when
/// it holds NaN or infinity or does not fit.
StoredScales store_quantized(
    const HostTensor& tensor, const std::string& name, WeightFormat format, std::int64_t group_size,
    ThreadPool& threads,
    const std::function<void(std::int64_t, std::span<const std::byte>)>& write);

}  // namespace iol
