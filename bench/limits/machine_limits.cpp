#include "bench/limits/machine_limits.h"

#include <algorithm>
#include <vector>

#include "backend/cpu/kernels_of.h"
#include "base/clock.h"
#include "base/thread_pool.h"
#include "bench/canary.h"

namespace iol::bench {
namespace {

constexpr int kRuns = 5;
constexpr std::int64_t kRunNs = 40'000'000;

/// Best read rate of several canaries.
double best_read_rate(int num_threads) {
  MemoryCanary canary(num_threads);
  double best = 0;
  for (int run = 0; run < kRuns; ++run) best = std::max(best, canary.read_bytes_per_s());
  return best;
}

/// Operations per second of all threads together, best of several runs.
double best_rate(ThreadPool& threads, cpu::PeakKernel kernel) {
  // Rounds that take about kRunNs on one thread.
  constexpr std::int64_t kProbeRounds = 100'000;
  const std::int64_t probe_start_ns = now_ns();
  kernel(kProbeRounds);
  const auto probe_ns = std::max<std::int64_t>(now_ns() - probe_start_ns, 1);
  const std::int64_t rounds = std::max<std::int64_t>(kProbeRounds * kRunNs / probe_ns, 1);
  double best = 0;
  std::vector<std::int64_t> operations(static_cast<std::size_t>(threads.num_threads()));
  for (int run = 0; run < kRuns; ++run) {
    const std::int64_t start_ns = now_ns();
    threads.run([&](int thread) { operations[static_cast<std::size_t>(thread)] = kernel(rounds); });
    const double seconds = static_cast<double>(now_ns() - start_ns) * 1e-9;
    double total = 0;
    for (const auto count : operations) total += static_cast<double>(count);
    best = std::max(best, total / seconds);
  }
  return best;
}

}  // namespace

MachineLimits measure_machine_limits(Isa isa, int num_threads) {
  const cpu::KernelTable& kernels = cpu::kernels_of(isa);
  MachineLimits limits;
  limits.num_threads = num_threads;
  limits.read_bytes_per_s_one_thread = best_read_rate(1);
  limits.read_bytes_per_s = best_read_rate(num_threads);
  ThreadPool threads(num_threads);
  limits.f32_flops = best_rate(threads, kernels.peak_f32);
  if (kernels.peak_bf16 != nullptr) limits.bf16_flops = best_rate(threads, kernels.peak_bf16);
  if (kernels.peak_int8 != nullptr) limits.int8_ops = best_rate(threads, kernels.peak_int8);
  return limits;
}

}  // namespace iol::bench
