#pragma once
// Operations on single rows: norm, rotation, argmax.
#include <cstdint>

#include "backend/cpu/isa/linear.h"
#include "backend/cpu/kernel_table.h"

namespace iol::cpu {
namespace {

/// 1 / sqrt(mean(x^2) + eps); four accumulators, added in a fixed order.
template <class S>
inline float inverse_rms(const float* x, std::int64_t size, double eps) {
  typename S::F sum[4] = {S::zero(), S::zero(), S::zero(), S::zero()};
  const std::int64_t vectors = size / 16;
  for (std::int64_t v = 0; v < vectors; ++v) {
    const auto value = S::load(x + v * 16);
    sum[v % 4] = S::fma(value, value, sum[v % 4]);
  }
  const float total = S::reduce_add(S::add(S::add(sum[0], sum[1]), S::add(sum[2], sum[3])));
  const double mean = static_cast<double>(total) / static_cast<double>(size) + eps;
  return static_cast<float>(1.0 / __builtin_sqrt(mean));
}

template <class S>
void rms_norm(const RmsNormTask& task) {
  const auto scale = S::broadcast(inverse_rms<S>(task.x, task.size, task.eps));
  for (std::int64_t i = 0; i < task.size; i += 16) {
    const auto value = S::mul(S::mul(S::load(task.x + i), scale), S::load(task.weight + i));
    store_activation<S>(task.out, task.out_element, i, value);
  }
}

template <class S>
void rope(const RopeTask& task) {
  if (task.norm != nullptr) {
    rms_norm<S>({task.head, task.norm, task.head_dim, task.eps, task.head, Element::kF32});
  }
  const std::int64_t half = task.head_dim / 2;
  for (std::int64_t i = 0; i < half; ++i) {
    const float low = task.head[i];
    const float high = task.head[i + half];
    task.head[i] = low * task.cosine[i] - high * task.sine[i];
    task.head[i + half] = high * task.cosine[i] + low * task.sine[i];
  }
}

template <class S>
ArgMax argmax(const float* values, std::int64_t begin, std::int64_t end) {
  // The maximum first, then the first place that holds it: both passes run at the speed of the
  // cache.
  auto most = S::broadcast(values[begin]);
  auto poison = S::zero();  // zero as long as every value is finite
  std::int64_t i = begin;
  for (; i + 16 <= end; i += 16) {
    const auto value = S::load(values + i);
    most = S::max(most, value);
    poison = S::add(poison, S::sub(value, value));
  }
  float best = S::reduce_max(most);
  float rest = S::reduce_add(poison);
  for (; i < end; ++i) {
    best = values[i] > best ? values[i] : best;
    rest += values[i] - values[i];
  }
  for (i = begin; rest != 0.0F && i < end; ++i) {
    if (values[i] != values[i]) return {values[i], static_cast<std::int32_t>(i)};
  }
  for (i = begin; values[i] != best;) ++i;
  return {best, static_cast<std::int32_t>(i)};
}

template <class S>
double sum_exp(const float* values, std::int64_t count, float shift) {
  constexpr std::int64_t kRun = 1024;  // lanes are added up in double before f32 loses digits
  const auto minus_shift = S::broadcast(-shift);
  double total = 0;
  for (std::int64_t begin = 0; begin < count; begin += kRun) {
    const std::int64_t end = begin + kRun < count ? begin + kRun : count;
    auto sum = S::zero();
    for (std::int64_t i = begin; i < end; i += 16) {
      float tail[16];
      const float* from = values + i;
      if (i + 16 > end) {
        for (int lane = 0; lane < 16; ++lane)
          tail[lane] = i + lane < end ? values[i + lane] : shift;
        from = tail;
      }
      const auto power = exponential<S>(S::add(S::load(from), minus_shift));
      sum = S::add(sum, S::keep_lanes(power, 0, static_cast<int>(end - i), 0.0F));
    }
    total += static_cast<double>(S::reduce_add(sum));
  }
  return total;
}

}  // namespace
}  // namespace iol::cpu
