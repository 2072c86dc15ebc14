#include "backend/cuda/device_memory.h"

#include <cstring>

#include "backend/cuda/cuda_error.h"
#include "base/thread_pool.h"

namespace iol::cuda {

std::size_t free_bytes() {
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&free, &total), "asking for the free memory");
  return free;
}

void copy_to_device(void* device, const void* host, std::size_t bytes, std::string_view what) {
  check(cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice), what);
  check(cudaStreamSynchronize(nullptr), what);
}

DeviceBuffer::DeviceBuffer(std::size_t bytes, std::string_view what) : bytes_(bytes) {
  if (bytes == 0) return;
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    throw CudaOutOfMemory(fmt::format(
        "{} needs {:.2f} GB of GPU memory, but {:.2f} GB are free; 'iol plan' shows what fits",
        what, static_cast<double>(bytes) / 1e9, static_cast<double>(free_bytes()) / 1e9));
  }
  check(status, what);
  data_ = static_cast<std::byte*>(data);
  check(cudaMemset(data_, 0, bytes), "clearing memory");
  check(cudaStreamSynchronize(nullptr), "clearing memory");  // other streams don't wait for it
}

DeviceBuffer::~DeviceBuffer() {
  if (data_ != nullptr) static_cast<void>(cudaFree(data_));
}

PinnedBuffer::PinnedBuffer(std::size_t bytes, std::string_view what) : bytes_(bytes) {
  if (bytes == 0) return;
  void* data = nullptr;
  check(cudaMallocHost(&data, bytes), what);
  data_ = static_cast<std::byte*>(data);
}

PinnedBuffer::~PinnedBuffer() {
  if (data_ != nullptr) static_cast<void>(cudaFreeHost(data_));
}

MappedHostMemory::MappedHostMemory(std::size_t bytes, int num_threads, std::string_view what)
    : memory_(bytes) {
  ThreadPool threads(num_threads);
  threads.for_ranges(static_cast<std::int64_t>(bytes), std::int64_t{2} << 20,
                     [&](std::int64_t begin, std::int64_t end, int) {
                       std::memset(memory_.data() + begin, 0,
                                   static_cast<std::size_t>(end - begin));
                     });
  check(cudaHostRegister(memory_.data(), bytes, cudaHostRegisterMapped), what);
  void* device_data = nullptr;
  check(cudaHostGetDevicePointer(&device_data, memory_.data(), 0), what);
  device_data_ = static_cast<std::byte*>(device_data);
}

MappedHostMemory::~MappedHostMemory() { static_cast<void>(cudaHostUnregister(memory_.data())); }

Stream::Stream() {
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
}
Stream::~Stream() {
  if (stream_ != nullptr) static_cast<void>(cudaStreamDestroy(stream_));
}
void Stream::synchronize(std::string_view what) const {
  check(cudaStreamSynchronize(stream_), what);
}

Event::Event(EventKind kind) {
  const unsigned flags = kind == EventKind::kTimed ? cudaEventDefault : cudaEventDisableTiming;
  check(cudaEventCreateWithFlags(&event_, flags), "making an event");
}
Event::~Event() {
  if (event_ != nullptr) static_cast<void>(cudaEventDestroy(event_));
}
void Event::record(const Stream& stream) const {
  check(cudaEventRecord(event_, stream.get()), "recording an event");
}
void Event::synchronize() const { check(cudaEventSynchronize(event_), "waiting for an event"); }
float Event::milliseconds_since(const Event& start) const {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, start.event_, event_), "reading an event");
  return milliseconds;
}

Graph::~Graph() {
  if (graph_ != nullptr) static_cast<void>(cudaGraphExecDestroy(graph_));
}
void Graph::begin_capture(const Stream& stream) {
  check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal),
        "beginning the capture of a step");
}
void Graph::abandon_capture(const Stream& stream) {
  cudaGraph_t captured = nullptr;
  static_cast<void>(cudaStreamEndCapture(stream.get(), &captured));
  if (captured != nullptr) static_cast<void>(cudaGraphDestroy(captured));
  static_cast<void>(cudaGetLastError());
}
Graph Graph::end_capture(const Stream& stream) {
  cudaGraph_t captured = nullptr;
  check(cudaStreamEndCapture(stream.get(), &captured), "capturing a step");
  Graph graph;
  const cudaError_t status = cudaGraphInstantiate(&graph.graph_, captured, 0);
  static_cast<void>(cudaGraphDestroy(captured));
  check(status, "making a graph of a step");
  return graph;
}
void Graph::launch(const Stream& stream) const {
  check(cudaGraphLaunch(graph_, stream.get()), "launching a step");
}
void Graph::upload(const Stream& stream) const {
  const cudaError_t status = cudaGraphUpload(graph_, stream.get());
  if (status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    return;
  }
  check(status, "preparing a step");
}

}  // namespace iol::cuda
