#pragma once
#include <cstdint>
#include <memory>

#include "backend/device.h"
#include "base/huge_buffer.h"
#include "base/thread_pool.h"

namespace iol::bench {

/// Measures how fast memory can be read at this moment: the machine's limit for decoding, and the
/// witness that two runs met the same machine. A buffer is summed by all threads, over and over for
/// about `kDurationNs`; the result is bytes per second of the median pass.
class MemoryCanary {
 public:
  static constexpr std::int64_t kDurationNs = 80'000'000;

  /// Throws ResourceError when there is no memory for the buffer.
  explicit MemoryCanary(int num_threads) : MemoryCanary(Device{DeviceKind::kCpu, 0}, num_threads) {}
  /// Of a GPU's memory where `device` is one.
  MemoryCanary(const Device& device, int num_threads);
  /// Of the whole buffer, which is several times the last cache level: of memory.
  double read_bytes_per_s() { return read_bytes_per_s(buffer_bytes()); }
  /// Of the buffer's first `working_set_bytes`: of whatever holds that much when it is read again
  /// and again, as the weights are. Caches serve a small model, and are its limit then.
  double read_bytes_per_s(std::int64_t working_set_bytes);
  [[nodiscard]] std::int64_t buffer_bytes() const;

 private:
  double pass_bytes_per_s(std::int64_t bytes);

  Device device_;
  ThreadPool threads_;
  HugeBuffer buffer_;
  std::uint64_t sink_ = 0;  // keeps the sums from being optimized away
};

/// Bytes of the largest cache level that the kernel knows of; 0 when it knows none.
std::int64_t last_level_cache_bytes();

}  // namespace iol::bench
