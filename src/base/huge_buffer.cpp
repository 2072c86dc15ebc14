#include "base/huge_buffer.h"

#include <sys/mman.h>

#include <cstdint>
#include <utility>

#include "base/error.h"

namespace iol {
namespace {
constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;
}

HugeBuffer::HugeBuffer(std::size_t size_bytes) : size_bytes_(size_bytes) {
  if (size_bytes == 0) return;
  // Small buffers keep to ordinary pages: rounding them up would waste what `iol plan` counts.
  const bool huge = size_bytes >= kHugePageBytes;
  const std::size_t reserve_bytes = size_bytes + (huge ? kHugePageBytes : 0);
  void* address = ::mmap(nullptr, reserve_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    throw_resource_error("cannot allocate {:.1f} MB of memory; see 'iol plan' for what a run needs",
                         static_cast<double>(size_bytes) / 1e6);
  }
  auto* begin = static_cast<std::byte*>(address);
  if (huge) {
    // Trim to a 2 MiB boundary so that the kernel can use huge pages from the first byte.
    const auto base = reinterpret_cast<std::uintptr_t>(begin);
    const std::size_t head = (kHugePageBytes - base % kHugePageBytes) % kHugePageBytes;
    if (head > 0) ::munmap(begin, head);
    begin += head;
    const std::size_t tail = kHugePageBytes - head;
    const std::size_t page_rounded = (size_bytes + 4095) / 4096 * 4096;
    if (reserve_bytes - head > page_rounded && tail > 0) {
      const std::size_t end_rounded = (reserve_bytes + 4095) / 4096 * 4096;
      if (end_rounded > head + page_rounded) {
        ::munmap(begin + page_rounded, end_rounded - head - page_rounded);
      }
    }
    ::madvise(begin, page_rounded, MADV_HUGEPAGE);
  }
  data_ = begin;
}

HugeBuffer::~HugeBuffer() {
  if (data_ != nullptr) ::munmap(data_, size_bytes_);
}

HugeBuffer::HugeBuffer(HugeBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)) {}

HugeBuffer& HugeBuffer::operator=(HugeBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

}  // namespace iol
