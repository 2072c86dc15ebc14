#pragma once
// How long work takes on the GPU, by events around it.
#include <algorithm>
#include <vector>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/device_memory.h"

namespace iol::cuda {

/// Microseconds of `work`, which puts something on the stream: the median of `num_runs`, behind one
/// that warms up.
template <class Work>
double median_microseconds(const Stream& stream, int num_runs, Work&& work) {
  const Event start;
  const Event end;
  std::vector<double> times;
  for (int run = 0; run <= num_runs; ++run) {
    start.record(stream);
    work();
    end.record(stream);
    stream.synchronize("timing");
    if (run > 0) times.push_back(double{end.milliseconds_since(start)} * 1e3);
  }
  check_launch("timing");
  const auto middle = times.begin() + num_runs / 2;
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

}  // namespace iol::cuda
