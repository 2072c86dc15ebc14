#pragma once
// Owners of what the CUDA runtime hands out. Each belongs to the device that was current when it
// was made.
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/huge_buffer.h"

namespace iol::cuda {

/// Bytes on the device, zero-filled.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  /// Throws CudaError naming `what` when the device has not enough memory.
  DeviceBuffer(std::size_t bytes, std::string_view what);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size_bytes() const { return bytes_; }
  template <class T>
  [[nodiscard]] T* as(std::size_t offset_bytes = 0) const {
    return reinterpret_cast<T*>(data_ + offset_bytes);
  }

 private:
  void swap(DeviceBuffer& other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Bytes of the host that the device can copy from and to by itself.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  PinnedBuffer(std::size_t bytes, std::string_view what);
  ~PinnedBuffer();
  PinnedBuffer(PinnedBuffer&& other) noexcept { swap(other); }
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size_bytes() const { return bytes_; }

 private:
  void swap(PinnedBuffer& other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Huge pages of the host that the device can read and write by itself, filled by several threads:
/// for gigabytes, which a PinnedBuffer takes half a second each for.
class MappedHostMemory {
 public:
  MappedHostMemory(std::size_t bytes, int num_threads, std::string_view what);
  ~MappedHostMemory();
  MappedHostMemory(const MappedHostMemory&) = delete;
  MappedHostMemory& operator=(const MappedHostMemory&) = delete;
  /// As the device sees it.
  [[nodiscard]] std::byte* device_data() const { return device_data_; }
  [[nodiscard]] std::size_t size_bytes() const { return memory_.size_bytes(); }

 private:
  HugeBuffer memory_;
  std::byte* device_data_ = nullptr;
};

class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  [[nodiscard]] cudaStream_t get() const { return stream_; }
  /// Throws CudaError with what went wrong in the work that was waited for.
  void synchronize(std::string_view what) const;

 private:
  cudaStream_t stream_ = nullptr;
};

/// Whether an event keeps the time at which it happened: one that doesn't delays less.
enum class EventKind : std::uint8_t { kTimed, kUntimed };

class Event {
 public:
  explicit Event(EventKind kind = EventKind::kTimed);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(const Stream& stream) const;
  void synchronize() const;
  /// Between two timed events that have happened.
  [[nodiscard]] float milliseconds_since(const Event& start) const;

 private:
  cudaEvent_t event_ = nullptr;
};

/// Work that was captured from a stream and can be launched as a whole.
class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(Graph&& other) noexcept : graph_(std::exchange(other.graph_, nullptr)) {}
  Graph& operator=(Graph&& other) noexcept {
    std::swap(graph_, other.graph_);
    return *this;
  }
  /// Captures what `work` puts on the stream.
  template <class Work>
  static Graph capture(const Stream& stream, Work&& work) {
    begin_capture(stream);
    try {
      work();
    } catch (...) {
      abandon_capture(stream);
      throw;
    }
    return end_capture(stream);
  }
  [[nodiscard]] bool is_captured() const { return graph_ != nullptr; }
  void launch(const Stream& stream) const;
  /// Does ahead what the first launch would have to do. Where it can't, that does it.
  void upload(const Stream& stream) const;

 private:
  static void begin_capture(const Stream& stream);
  static void abandon_capture(const Stream& stream);
  static Graph end_capture(const Stream& stream);
  cudaGraphExec_t graph_ = nullptr;
};

/// Copies from the host and waits for the copy to end: streams wait neither for the default stream
/// nor for copies of pageable memory, which may go on when cudaMemcpy() has returned.
void copy_to_device(void* device, const void* host, std::size_t bytes, std::string_view what);

/// The device's own memory, free now.
std::size_t free_bytes();

}  // namespace iol::cuda
