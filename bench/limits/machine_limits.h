#pragma once
#include <cstdint>
#include <optional>

#include "base/cpu.h"

namespace iol::bench {

/// What this machine can do at most: the denominators of every percentage in a report.
struct MachineLimits {
  int num_threads = 1;
  double read_bytes_per_s_one_thread = 0;
  double read_bytes_per_s = 0;       // all threads
  double f32_flops = 0;              // operations per second, all threads
  std::optional<double> bf16_flops;  // nothing: no instruction for it
  std::optional<double> int8_ops;
};

/// Measures for about two seconds. Sequential reads of a buffer larger than the caches, and
/// multiply-adds on registers; the best of several short runs, since a limit is what is possible.
MachineLimits measure_machine_limits(Isa isa, int num_threads);

}  // namespace iol::bench
