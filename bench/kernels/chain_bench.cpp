// One token's products of a layer on the GPU: in one kernel (kernels/chain.h) beside a kernel each,
// microseconds a layer and the share of what reading the weights takes at the rate that doctor
// measures. Weights are cold; layers follow each other in a captured graph, without attention
// between them.
//
//   build/chain_bench [FORMAT...] [MODEL...]   (default bf16 fp8, 1b 8b)
#include <fmt/format.h>

#include <algorithm>

#include "backend/cuda/cuda_device.h"
#include "backend/cuda/product_chain.h"
#include "bench/kernels/chain_case.h"
#include "bench/kernels/device_time.h"

namespace iol::cuda {
namespace {

constexpr std::size_t kColdBytes = std::size_t{400} << 20;  // beyond any L2 cache

const LayerShape kModels[] = {{"1b", 2048, 2048, 5632, 2560},
                              {"8b", 4096, 4096, 14336, 6144},
                              {"70b", 8192, 8192, 28672, 10240}};

constexpr MatrixLayout kLayouts[] = {MatrixLayout::kBf16,     MatrixLayout::kF16,
                                     MatrixLayout::kFp8,      MatrixLayout::kInt8,
                                     MatrixLayout::kInt8Bf16, MatrixLayout::kInt4};

/// Of one of `count` layers, the median of replays.
template <class Layer>
double microseconds(int count, const Stream& stream, Layer&& layer) {
  constexpr int kRuns = 15;
  const Graph graph = Graph::capture(stream, [&] {
    for (int i = 0; i < count; ++i) layer(i);
  });
  return median_microseconds(stream, kRuns, [&] { graph.launch(stream); }) / count;
}

void measure(const LayerShape& shape, MatrixLayout layout, double read_peak, const Stream& stream) {
  const std::size_t layer_bytes =
      static_cast<std::size_t>(shape.hidden) *
      static_cast<std::size_t>(shape.attended + 3 * shape.inner + shape.qkv) *
      static_cast<std::size_t>(weight_bits(layout)) / 8;
  const int copies = std::clamp(static_cast<int>(kColdBytes / layer_bytes) + 1, 4, 24);
  const ChainCase layer(shape, layout, copies);
  const std::vector<float> ones(static_cast<std::size_t>(shape.hidden), 1);
  const RowTraitsOnDevice traits(RowTraitsOnHost(ones, ones));
  const double apart = microseconds(copies, stream, [&](int copy) {
    for (LinearTask& task : layer.tasks(copy)) {
      if (is_coded(layout)) task.x.source.traits = traits.view();  // whatever they are
      multiply_alone(task, stream);
    }
  });
  const double chained = microseconds(copies, stream, [&](int copy) {
    const auto tasks = layer.tasks(copy);
    linear_chain({tasks.data(), kMostLinks, layer.scratch()}, stream.get());
  });
  check_launch("timing");
  const double limit = 1e6 * static_cast<double>(layer_bytes) / read_peak;
  fmt::print("{:<8}{:<4} {:6.1f} MB  apart {:6.1f} us {:3.0f}%  chained {:6.1f} us {:3.0f}%\n",
             layout_name(layout), shape.name, static_cast<double>(layer_bytes) / 1e6, apart,
             100 * limit / apart, chained, 100 * limit / chained);
  std::fflush(stdout);
}

int bench(const std::vector<std::string>& arguments) {
  if (cuda_status().devices.empty()) {
    fmt::print(stderr, "{}\n", cuda_status().reason);
    return 1;
  }
  const auto& device = cuda_status().devices[0];
  const double read_peak = measure_cuda_limits(device.index).read_bytes_per_s;
  fmt::print("{}: read {:.2f} TB/s\n", device.name, read_peak / 1e12);
  const Stream stream;
  const auto asked_for = [&](const std::string& name) {
    return std::find(arguments.begin(), arguments.end(), name) != arguments.end();
  };
  const bool any_format = std::ranges::any_of(kLayouts, asked_for, layout_name);
  const bool any_model = std::ranges::any_of(kModels, asked_for, &LayerShape::name);
  for (const MatrixLayout layout : kLayouts) {
    const bool is_default = layout == MatrixLayout::kBf16 || layout == MatrixLayout::kFp8;
    if (any_format ? !asked_for(layout_name(layout)) : !is_default) continue;
    for (const LayerShape& model : kModels) {
      if (any_model ? asked_for(model.name) : model.name != "70b")
        measure(model, layout, read_peak, stream);
    }
  }
  return 0;
}

}  // namespace
}  // namespace iol::cuda

int main(int argc, char** argv) {
  return iol::cuda::bench(std::vector<std::string>(argv + 1, argv + argc));
}
