#pragma once
#include <cstddef>

#include "backend/cuda/kernels/kernels.h"

namespace iol::cuda {

/// What a step takes from the host and leaves there, by kernels that read and write its pinned
/// memory themselves: they take a microsecond or two where a copy of so few bytes takes five.
/// Multiples of 16 bytes, at addresses that are such.
struct StepCopy {
  const void* from = nullptr;
  void* to = nullptr;
  std::size_t bytes = 0;
};

/// Two ranges of the host to the device.
struct FetchTask {
  StepCopy arrays;
  StepCopy tables;
};
void fetch_inputs(const FetchTask& task, StreamHandle stream);
/// From the device to the host, where it is seen once what was put on the stream is over.
void leave_results(const StepCopy& task, StreamHandle stream);

}  // namespace iol::cuda
