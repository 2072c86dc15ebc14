// The kernel of compute capability 9.0 on the GPU, in every shape of its blocks, beside the
// portable ones: microseconds, the share of the peak that doctor measures (of operations or, when
// that is the narrower limit, of bytes read). Each is compared with the kernels for few tokens
// first. A shape is rows x tokens / blocks that split it, "s" where blocks share units, "a" where
// those that split one meet in device memory.
//
//   build/linear_bench [FORMAT...] [TOKENS...] [MATRIX...] [@SECONDS]   (default bf16 fp8, 1 8 64
//   256 2048, all)
//
// With @SECONDS each shape runs that long without a pause, and power and clock stand beside its
// time: what a burst of milliseconds gains the card's power limit may take back.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "backend/cuda/cuda_device.h"
#include "base/clock.h"
#include "bench/kernels/device_time.h"
#include "bench/kernels/linear_case.h"
#include "telemetry/gpu_monitor.h"

namespace iol::cuda {
namespace {

constexpr int kFewTokens = 64;
constexpr std::size_t kColdBytes = std::size_t{200} << 20;  // beyond any L2 cache

/// Shapes worth a look for that many tokens.
std::vector<WideShape> shapes_for(int tokens) {
  if (tokens > kFewTokens)
    return {{64, 1, 32},   {64, 1, 64},   {64, 1, 96},   {64, 1, 128},  {64, 1, 192}, {128, 1, 64},
            {128, 1, 128}, {128, 1, 192}, {256, 1, 128}, {256, 2, 128}, {128, 2, 128}};
  const int tile = tokens <= 16 ? 16 : tokens <= 32 ? 32 : 64;
  return {{tile, 1, 32},  {tile, 1, 64}, {tile, 1, 96}, {tile, 1, 128},
          {tile, 1, 192}, {tile, 4, 64}, {tile, 8, 64}, {tile, 8, 128}};
}

/// The largest difference between two results, in units of the largest result.
double difference(const LinearCase& linear, const std::vector<std::uint32_t>& got,
                  const std::vector<std::uint32_t>& want) {
  if (got == want) return 0;
  const auto value = [&](const std::vector<std::uint32_t>& all, std::size_t i) {
    if (linear.out_element() == Element::kF32) return std::bit_cast<float>(all[i]);
    return std::bit_cast<float>(all[i] << 16);
  };
  double most = 0;
  double largest = 0;
  const auto count = static_cast<std::size_t>(linear.shape().tokens) *
                     static_cast<std::size_t>(linear.shape().rows) /
                     (linear.shape().epilogue != Epilogue::kSwiGlu ? 1
                      : linear.out_element() == Element::kF32      ? 2
                                                                   : 4);
  for (std::size_t i = 0; i < count; ++i) {
    largest = std::max(largest, double{std::abs(value(want, i))});
    most = std::max(most, double{std::abs(value(got, i) - value(want, i))});
  }
  return most / largest;
}

double microseconds(const LinearCase& linear, int num_copies, const Stream& stream, RowForm form,
                    WideShape shape) {
  constexpr int kRuns = 5;
  const double all = median_microseconds(stream, kRuns, [&] {
    for (int copy = 0; copy < num_copies; ++copy) {
      LinearTask task = linear.task(form, copy);
      task.shape = shape;
      cuda::linear(task, stream.get());
    }
  });
  return all / num_copies;
}

std::string label_of(const WideShape& shape) {
  return fmt::format("{}x{}/{}{}", shape.rows, shape.tokens, shape.split,
                     shape.sharers > 0 ? "s"
                     : shape.is_apart  ? "a"
                                       : "");
}

/// Runs the product for that long and says what it takes, and what the card takes meanwhile, in the
/// second half.
std::string run_on(const LinearCase& linear, int num_copies, const Stream& stream, RowForm form,
                   WideShape shape, double seconds, GpuMonitor& monitor) {
  const auto since = [](std::int64_t start_ns) {
    return static_cast<double>(now_ns() - start_ns) * 1e-9;
  };
  const int turns = std::max(1, static_cast<int>(20e9 / linear.operations()));
  const std::int64_t begin = now_ns();
  std::int64_t half = begin;
  double joules = 0;
  double products = 0;
  while (since(begin) < seconds) {
    if (products == 0 && since(begin) >= seconds / 2) {
      half = now_ns();
      joules = monitor.read(getpid()).energy_joules.value_or(0);
    }
    for (int i = 0; i < turns * num_copies; ++i) {
      LinearTask task = linear.task(form, i % num_copies);
      task.shape = shape;
      cuda::linear(task, stream.get());
    }
    stream.synchronize("running on");
    if (half != begin) products += turns * num_copies;
  }
  check_launch("running on");
  const GpuReading reading = monitor.read(getpid());
  const double time = since(half);
  return fmt::format("{:.1f} us {:.0f} T/s {:.0f} W {} MHz", 1e6 * time / products,
                     linear.operations() * products / time / 1e12,
                     (reading.energy_joules.value_or(0) - joules) / time,
                     reading.sm_clock_mhz.value_or(0));
}

void measure(const LinearShape& shape, double peak, double read_peak, const Stream& stream,
             double seconds) {
  const auto numbers =
      static_cast<std::size_t>(shape.rows) * static_cast<std::size_t>(shape.columns);
  std::size_t bytes = numbers * static_cast<std::size_t>(weight_bits(shape.layout)) / 8;
  if (shape.layout == MatrixLayout::kInt4)  // a scale and a zero point
    bytes += numbers / static_cast<std::size_t>(shape.group_size) * 5;
  const int num_copies = std::clamp(static_cast<int>(kColdBytes / bytes) + 1, 4, 64);
  const LinearCase linear(shape, num_copies);
  linear.clear();
  for (int first = 0; first < shape.tokens; first += kFewTokens)
    cuda::linear(linear.part(linear.task(RowForm::kPlain), first,
                             std::min(kFewTokens, shape.tokens - first)),
                 stream.get());
  stream.synchronize("the kernels for few tokens");
  const auto want = linear.results();
  const double portable = microseconds(linear, num_copies, stream, RowForm::kPlain, {});
  const double limit =
      1e6 * std::max(linear.operations() / peak, static_cast<double>(bytes) / read_peak);
  fmt::print("{:<8}{:<9}{:>5} x {:<6}T {:<5} mma {:7.1f} us {:3.0f}%", layout_name(shape.layout),
             shape.name, shape.rows, shape.columns, shape.tokens, portable, 100 * limit / portable);
  const LinearTask unmade = linear.task(RowForm::kUnmade);
  if (can_make_row(unmade.matrix, shape.tokens, unmade.x.source)) {
    const double making = microseconds(linear, num_copies, stream, RowForm::kUnmade, {});
    fmt::print(" | makes its rows {:7.1f} us {:3.0f}%", making, 100 * limit / making);
  }
  const bool widens = shape.layout == MatrixLayout::kFp8 && shape.tokens <= kFewTokens;
  const RowForm form = widens ? RowForm::kWidened : RowForm::kDealt;
  const WideShape chosen = wide_shape(linear.task(form));
  GpuMonitor monitor(cuda_status().devices[0].uuid);
  std::vector<WideShape> shapes = shapes_for(shape.tokens);
  for (WideShape shared : shapes_for(shape.tokens)) {
    shared.sharers = most_sharers(linear.task(form), shared);
    if (shared.sharers > 0) shapes.push_back(shared);
  }
  for (const int split : {4, 8}) {
    for (const int rows : {64, 128})
      shapes.push_back(
          {.tokens = shapes[0].tokens, .split = split, .rows = rows, .is_apart = true});
  }
  for (const WideShape& wide : shapes) {
    if (!has_shape(linear.task(form), wide)) continue;
    if (seconds > 0) {
      if (wide.tokens < 128 && !(wide == chosen)) continue;  // far behind
      fmt::print(" | {}{} {}", label_of(wide), wide == chosen ? "*" : "",
                 run_on(linear, num_copies, stream, form, wide, seconds, monitor));
      continue;
    }
    linear.clear();
    LinearTask task = linear.task(form);
    task.shape = wide;
    cuda::linear(task, stream.get());
    stream.synchronize("the kernel for many tokens");
    check_launch("the kernel for many tokens");
    const double off = difference(linear, linear.results(), want);
    const double time = microseconds(linear, num_copies, stream, form, wide);
    fmt::print(" | {}{} {:.1f} us {:.0f}%{}", label_of(wide), wide == chosen ? "*" : "", time,
               100 * limit / time, off == 0 ? "" : fmt::format(" off {:.1e}", off));
  }
  fmt::print("\n");
  std::fflush(stdout);
}

int bench(const std::vector<MatrixLayout>& layouts, const std::vector<int>& token_counts,
          const std::vector<std::string>& names, double seconds) {
  if (cuda_status().devices.empty()) {
    fmt::print(stderr, "{}\n", cuda_status().reason);
    return 1;
  }
  const CudaLimits limits = measure_cuda_limits(cuda_status().devices[0].index);
  fmt::print("{}: bf16 {:.0f}, fp8 {:.0f}, int8 {:.0f} T/s, read {:.2f} TB/s; * is chosen\n",
             cuda_status().devices[0].name, limits.bf16_flops / 1e12, limits.fp8_flops / 1e12,
             limits.int8_ops / 1e12, limits.read_bytes_per_s / 1e12);
  const Stream stream;
  struct Matrix {
    const char* name;
    int rows, columns;
    Epilogue epilogue;
  };
  const Matrix matrices[] = {
      {"1b-qkv", 2560, 2048, Epilogue::kStore},    {"1b-out", 2048, 2048, Epilogue::kAdd},
      {"1b-up", 11264, 2048, Epilogue::kSwiGlu},   {"1b-down", 2048, 5632, Epilogue::kAdd},
      {"1b-head", 32000, 2048, Epilogue::kLogits}, {"8b-qkv", 6144, 4096, Epilogue::kStore},
      {"8b-out", 4096, 4096, Epilogue::kAdd},      {"8b-up", 28672, 4096, Epilogue::kSwiGlu},
      {"8b-down", 4096, 14336, Epilogue::kAdd},
  };
  for (const MatrixLayout layout : layouts) {
    const double peak = layout == MatrixLayout::kFp8 ? limits.fp8_flops
                        : layout == MatrixLayout::kInt8 || layout == MatrixLayout::kInt4
                            ? limits.int8_ops
                            : limits.bf16_flops;
    for (const int tokens : token_counts) {
      for (const Matrix& matrix : matrices) {
        if (!names.empty() && std::find(names.begin(), names.end(), matrix.name) == names.end())
          continue;
        LinearShape shape = {matrix.name,    layout, matrix.rows,
                             matrix.columns, tokens, matrix.epilogue};
        shape.magnitude = kModelMagnitude;
        measure(shape, peak, limits.read_bytes_per_s, stream, seconds);
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace iol::cuda

int main(int argc, char** argv) {
  using iol::cuda::MatrixLayout;
  std::vector<MatrixLayout> layouts;
  std::vector<int> tokens;
  std::vector<std::string> names;
  double seconds = 0;
  for (const std::string& argument : std::vector<std::string>(argv + 1, argv + argc)) {
    const std::size_t known = layouts.size();
    for (const MatrixLayout layout :
         {MatrixLayout::kBf16, MatrixLayout::kF16, MatrixLayout::kFp8, MatrixLayout::kInt8,
          MatrixLayout::kInt8Bf16, MatrixLayout::kInt4}) {
      if (argument == iol::cuda::layout_name(layout)) layouts.push_back(layout);
    }
    if (layouts.size() > known) continue;
    if (argument.starts_with('@')) {
      seconds = std::stod(argument.substr(1));
    } else if (argument.find_first_not_of("0123456789") == std::string::npos) {
      tokens.push_back(std::stoi(argument));
    } else {
      names.push_back(argument);
    }
  }
  if (layouts.empty()) layouts = {MatrixLayout::kBf16, MatrixLayout::kFp8};
  if (tokens.empty()) tokens = {1, 8, 64, 256, 2048};
  return iol::cuda::bench(layouts, tokens, names, seconds);
}
