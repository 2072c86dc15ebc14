#pragma once
// One product, from results that are zero.
#include <cstdint>
#include <vector>

#include "bench/kernels/linear_case.h"

namespace iol::cuda {

inline std::vector<std::uint32_t> product(const LinearCase& linear, const LinearTask& task) {
  const Stream stream;
  linear.clear();
  cuda::linear(task, stream.get());
  check_launch("a product");
  stream.synchronize("a product");
  return linear.results();
}

}  // namespace iol::cuda
