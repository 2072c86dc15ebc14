#pragma once
#include <cstddef>
#include <span>

namespace iol {

/// Zero-filled anonymous memory, 2 MiB aligned, backed by huge pages where the system allows it.
/// Move-only.
class HugeBuffer {
 public:
  HugeBuffer() = default;
  /// Throws ResourceError when the system refuses. Pages are committed on first touch.
  explicit HugeBuffer(std::size_t size_bytes);
  ~HugeBuffer();
  HugeBuffer(HugeBuffer&& other) noexcept;
  HugeBuffer& operator=(HugeBuffer&& other) noexcept;
  HugeBuffer(const HugeBuffer&) = delete;
  HugeBuffer& operator=(const HugeBuffer&) = delete;

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size_bytes() const { return size_bytes_; }
  template <class T>
  [[nodiscard]] T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_bytes_ = 0;
};

}  // namespace iol
