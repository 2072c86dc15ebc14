#include "bench/canary.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "backend/cuda/cuda_device.h"
#include "base/clock.h"

namespace iol::bench {
namespace {

constexpr std::int64_t kMinBufferBytes = std::int64_t{256} << 20;
constexpr std::int64_t kMaxBufferBytes = std::int64_t{2} << 30;
constexpr std::int64_t kTimesCache = 4;  // so that a pass finds next to nothing left in the cache

using Vector __attribute__((vector_size(16), may_alias)) = std::uint64_t;

/// Sums with enough independent accumulators to keep many loads in flight, and asks for memory
/// ahead of the loads across the borders of pages, where the hardware stops doing so.
std::uint64_t sum_vectors(const Vector* vectors, std::int64_t count) {
  Vector sums[8] = {};
  constexpr std::int64_t kAhead = 4096 / sizeof(Vector);
  for (std::int64_t i = 0; i + 8 <= count; i += 8) {
    __builtin_prefetch(vectors + i + kAhead);
    __builtin_prefetch(vectors + i + kAhead + 4);
    for (int j = 0; j < 8; ++j) sums[j] += vectors[i + j];
  }
  std::uint64_t total = 0;
  for (const auto& sum : sums) total += sum[0] + sum[1];
  return total;
}

std::int64_t parse_cache_size(const std::string& text) {
  std::size_t end = 0;
  std::int64_t size = 0;
  while (end < text.size() && text[end] >= '0' && text[end] <= '9') {
    size = size * 10 + (text[end++] - '0');
  }
  if (end < text.size() && text[end] == 'K') size <<= 10;
  if (end < text.size() && text[end] == 'M') size <<= 20;
  return size;
}

std::size_t canary_buffer_bytes() {
  const auto wanted = kTimesCache * last_level_cache_bytes();
  return static_cast<std::size_t>(std::clamp(wanted, kMinBufferBytes, kMaxBufferBytes));
}

}  // namespace

std::int64_t last_level_cache_bytes() {
  std::int64_t largest = 0;
  for (int index = 0; index < 8; ++index) {
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) +
                       "/size");
    std::string text;
    if (file >> text) largest = std::max(largest, parse_cache_size(text));
  }
  return largest;
}

namespace {
constexpr std::int64_t kCudaBufferBytes = std::int64_t{1} << 30;  // far more than any cache
}  // namespace

MemoryCanary::MemoryCanary(const Device& device, int num_threads)
    : device_(device),
      threads_(device.kind == DeviceKind::kCuda ? 1 : num_threads),
      buffer_(device.kind == DeviceKind::kCuda ? 0 : canary_buffer_bytes()) {
  if (device.kind == DeviceKind::kCuda) return;
  // Pages that were never written all map to one page of zeros, which sits in the cache.
  auto* bytes = buffer_.as<unsigned char>();
  threads_.for_ranges(buffer_bytes(), 4096, [&](std::int64_t begin, std::int64_t end, int) {
    std::fill(bytes + begin, bytes + end, static_cast<unsigned char>(1));
  });
}

std::int64_t MemoryCanary::buffer_bytes() const {
  if (device_.kind == DeviceKind::kCuda) return kCudaBufferBytes;
  return static_cast<std::int64_t>(buffer_.size_bytes());
}

double MemoryCanary::pass_bytes_per_s(std::int64_t bytes) {
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(threads_.num_threads()));
  const auto* vectors = buffer_.as<const Vector>();
  const std::int64_t count = bytes / static_cast<std::int64_t>(sizeof(Vector));
  const auto start_ns = now_ns();
  threads_.for_ranges(count, 4096, [&](std::int64_t begin, std::int64_t end, int thread) {
    sums[static_cast<std::size_t>(thread)] = sum_vectors(vectors + begin, end - begin);
  });
  const auto elapsed_ns = std::max<std::int64_t>(now_ns() - start_ns, 1);
  for (const auto sum : sums) sink_ += sum;
  return static_cast<double>(bytes) * 1e9 / static_cast<double>(elapsed_ns);
}

double MemoryCanary::read_bytes_per_s(std::int64_t working_set_bytes) {
  const auto bytes = std::clamp<std::int64_t>(working_set_bytes, 1 << 20, buffer_bytes());
  if (device_.kind == DeviceKind::kCuda) return cuda_read_bytes_per_s(device_.index, bytes);
  const auto passes_for = [&](std::int64_t duration_ns) {
    std::vector<double> passes;
    const auto start_ns = now_ns();
    do {
      passes.push_back(pass_bytes_per_s(bytes));
    } while (now_ns() - start_ns < duration_ns);
    return passes;
  };
  // Wakes the threads and fills the translation caches. What fits into the last cache level about
  // exactly takes longer to settle there.
  passes_for(bytes < buffer_bytes() ? kDurationNs : 1);
  std::vector<double> passes = passes_for(kDurationNs);
  const auto middle = passes.begin() + static_cast<std::ptrdiff_t>(passes.size() / 2);
  std::nth_element(passes.begin(), middle, passes.end());
  return *middle;
}

}  // namespace iol::bench
