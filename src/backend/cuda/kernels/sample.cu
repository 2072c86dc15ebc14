// One block of threads draws the token of one row of logits l, in the steps of sampler/sampler.cpp:
//
//   w = e^((l - max l) / temperature)
//   top_k   only logits that are not below the k-th largest
//   top_p   the heaviest whose sum first reaches top_p of all, the lowest index first among equals
//   min_p   only w >= min_p
//   token   the first whose cumulative weight exceeds uniform * (the sum of what is left)
//
// Borders are found by bisection over the bits of numbers, whose order is that of the numbers; each
// round is one pass over the row. Sums are double, in an order that depends on the row alone.
#include <math_constants.h>

#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/sample.h"

namespace iol::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;
constexpr int kChunk = 512;  // as SoftmaxWeights::kBlock
constexpr int kMostChunks = 1024;
constexpr double kGreedyTemperature = 1e-5;

/// As in sampler/softmax.cpp, operation by operation.
__device__ float exp_nonpositive(float x) {
  constexpr float kRound = 12582912.0F;
  if (!(x > -87.0F)) return 0.0F;
  const float shifted = __fadd_rn(__fmul_rn(x, 1.44269504F), kRound);
  const float n = __fsub_rn(shifted, kRound);
  const float r = __fadd_rn(__fsub_rn(x, __fmul_rn(n, 0.693359375F)), __fmul_rn(n, 2.12194440e-4F));
  float p = __fadd_rn(__fmul_rn(r, 1.9875691500e-4F), 1.3981999507e-3F);
  p = __fadd_rn(__fmul_rn(p, r), 8.3334519073e-3F);
  p = __fadd_rn(__fmul_rn(p, r), 4.1665795894e-2F);
  p = __fadd_rn(__fmul_rn(p, r), 1.6666665459e-1F);
  p = __fadd_rn(__fmul_rn(p, r), 5.0000001201e-1F);
  p = __fadd_rn(__fadd_rn(__fmul_rn(__fmul_rn(p, r), r), r), 1.0F);
  return __uint_as_float(__float_as_uint(p) + (__float_as_uint(shifted) << 23));
}

/// Unsigned integers in the order of the numbers.
__device__ std::uint32_t order_of(float value) {
  const std::uint32_t bits = __float_as_uint(value);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}
__device__ float value_of(std::uint32_t order) {
  return __uint_as_float((order & 0x80000000U) != 0 ? order & 0x7fffffffU : ~order);
}

struct Scratch {
  double chunk_sums[kMostChunks];
  double warp_sums[kWarps];
  float chunk[kChunk];
  double result;
  std::int32_t token;
};

/// Adds up over the block; every thread gets the sum.
__device__ double block_total(double value, Scratch& scratch) {
  for (int offset = 16; offset > 0; offset /= 2)
    value += __shfl_xor_sync(0xffffffffU, value, offset);
  if (threadIdx.x % 32 == 0) scratch.warp_sums[threadIdx.x / 32] = value;
  __syncthreads();
  double total = 0;
  for (int warp = 0; warp < kWarps; ++warp) total += scratch.warp_sums[warp];
  __syncthreads();
  return total;
}
/// Sum of term(i) over the row.
template <class Term>
__device__ double row_total(int size, Scratch& scratch, Term term) {
  double sum = 0;
  for (int i = threadIdx.x; i < size; i += kThreads) sum += term(i);
  return block_total(sum, scratch);
}
/// The largest x with enough(x), which holds for 0 and, once it fails, for nothing larger.
template <class Enough>
__device__ std::uint32_t bisect(Enough enough) {
  std::uint32_t found = 0;
  for (int bit = 31; bit >= 0; --bit) {
    const std::uint32_t tried = found | 1U << bit;
    if (enough(tried)) found = tried;
  }
  return found;
}

/// Weights in place of the logits, and the sums of chunks, in the order of SoftmaxWeights::compute:
/// four interleaved sums over a chunk, then what doesn't fill four.
__device__ void make_weights(float* row, int size, float most, float scale, Scratch& scratch) {
  const int num_chunks = (size + kChunk - 1) / kChunk;
  for (int first = 0; first < num_chunks * 4; first += kThreads) {
    const int chunk = (first + static_cast<int>(threadIdx.x)) / 4;
    const int begin = chunk * kChunk;
    const int count = max(min(kChunk, size - begin), 0);
    double sum = 0;
    for (int i = static_cast<int>(threadIdx.x) % 4; i < count / 4 * 4; i += 4) {
      const float weight = exp_nonpositive(__fmul_rn(__fsub_rn(row[begin + i], most), scale));
      row[begin + i] = weight;
      sum += static_cast<double>(weight);
    }
    sum += __shfl_xor_sync(0xffffffffU, sum, 1);
    sum += __shfl_xor_sync(0xffffffffU, sum, 2);
    if (threadIdx.x % 4 != 0 || count == 0) continue;
    for (int i = count / 4 * 4; i < count; ++i) {
      const float weight = exp_nonpositive(__fmul_rn(__fsub_rn(row[begin + i], most), scale));
      row[begin + i] = weight;
      sum += static_cast<double>(weight);
    }
    scratch.chunk_sums[chunk] = sum;
  }
  __syncthreads();
}

/// Weights of the logits that are not below the k-th largest; the others become zero.
__device__ void make_top_weights(float* row, int size, int k, float most, float temperature,
                                 Scratch& scratch) {
  const std::uint32_t threshold = bisect([&](std::uint32_t tried) {
    return row_total(size, scratch, [&](int i) { return order_of(row[i]) >= tried ? 1.0 : 0.0; }) >=
           k;
  });
  const float least = value_of(threshold);
  for (int i = threadIdx.x; i < size; i += kThreads)
    row[i] =
        row[i] >= least ? exp_nonpositive(__fdiv_rn(__fsub_rn(row[i], most), temperature)) : 0.0F;
  __syncthreads();
}

/// Leaves the heaviest weights whose sum first reaches `target`; the others become zero.
__device__ void keep_heaviest(float* row, int size, double target, Scratch& scratch) {
  const auto sum_from = [&](std::uint32_t least) {
    return row_total(size, scratch, [&](int i) {
      return __float_as_uint(row[i]) >= least ? static_cast<double>(row[i]) : 0.0;
    });
  };
  if (sum_from(0) < target) return;
  const std::uint32_t border =
      bisect([&](std::uint32_t tried) { return sum_from(tried) >= target; });
  const double heavier = sum_from(border + 1);
  const float weight = __uint_as_float(border);
  const auto num_ties = static_cast<long long>(ceil((target - heavier) / weight));
  // Of equals the first stay: warps in turn count those before theirs.
  const double all_ties = row_total(
      size, scratch, [&](int i) { return __float_as_uint(row[i]) == border ? 1.0 : 0.0; });
  if (static_cast<double>(num_ties) < all_ties && threadIdx.x < 32) {
    long long seen = 0;
    for (int first = 0; first < size; first += 32) {
      const int i = first + static_cast<int>(threadIdx.x);
      const bool tie = i < size && __float_as_uint(row[i]) == border;
      const unsigned ties = __ballot_sync(0xffffffffU, tie);
      const long long rank = seen + __popc(ties & ((1U << threadIdx.x) - 1));
      if (tie && rank >= num_ties) row[i] = 0.0F;
      seen += __popc(ties);
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < size; i += kThreads)
    if (__float_as_uint(row[i]) < border) row[i] = 0.0F;
  __syncthreads();
}

/// Drops weights below `least`, and adds up chunks.
__device__ void sum_chunks(float* row, int size, double least, Scratch& scratch) {
  for (int chunk = threadIdx.x / 32; chunk * kChunk < size; chunk += kWarps) {
    double sum = 0;
    for (int i = chunk * kChunk + static_cast<int>(threadIdx.x) % 32;
         i < min((chunk + 1) * kChunk, size); i += 32) {
      if (static_cast<double>(row[i]) < least) row[i] = 0.0F;
      sum += static_cast<double>(row[i]);
    }
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, offset);
    if (threadIdx.x % 32 == 0) scratch.chunk_sums[chunk] = sum;
  }
  __syncthreads();
}

__device__ double total_of_chunks(int size, const Scratch& scratch) {
  double total = 0;
  for (int chunk = 0; chunk * kChunk < size; ++chunk) total += scratch.chunk_sums[chunk];
  return total;
}

/// SoftmaxWeights::draw
__device__ std::int32_t draw(const float* row, int size, double target, Scratch& scratch) {
  const int num_chunks = (size + kChunk - 1) / kChunk;
  int chunk = 0;
  double sum = 0;
  while (chunk < num_chunks && sum + scratch.chunk_sums[chunk] <= target)
    sum += scratch.chunk_sums[chunk++];
  while (chunk > 0 && (chunk == num_chunks || scratch.chunk_sums[chunk] == 0)) --chunk;
  const int begin = chunk * kChunk;
  const int count = min(kChunk, size - begin);
  for (int i = threadIdx.x; i < count; i += kThreads) scratch.chunk[i] = row[begin + i];
  __syncthreads();
  if (threadIdx.x == 0) {
    int last = 0;  // that can be drawn, should rounding lead past the end
    int i = 0;
    for (; i < count; ++i) {
      if (scratch.chunk[i] > 0) last = i;
      sum += static_cast<double>(scratch.chunk[i]);
      if (sum > target) break;
    }
    scratch.token = begin + (i < count ? i : last);
  }
  __syncthreads();
  return scratch.token;
}

__device__ std::int32_t choose(float* row, int size, const TokenChoice& choice, float most,
                               Scratch& scratch) {
  const auto temperature = static_cast<float>(choice.temperature);
  double total;
  if (choice.top_k > 0 && choice.top_k < size) {
    make_top_weights(row, size, choice.top_k, most, temperature, scratch);
    sum_chunks(row, size, 0.0, scratch);
    total = total_of_chunks(size, scratch);
  } else {
    make_weights(row, size, most, __fdiv_rn(1.0F, temperature), scratch);
    total = total_of_chunks(size, scratch);
  }
  const bool truncated = choice.top_p < 1.0 || choice.min_p > 0.0;
  if (truncated) {
    __syncthreads();
    if (choice.top_p < 1.0) keep_heaviest(row, size, choice.top_p * total, scratch);
    sum_chunks(row, size, choice.min_p, scratch);
    total = total_of_chunks(size, scratch);
  }
  return draw(row, size, choice.uniform * total, scratch);
}

__global__ void __launch_bounds__(kThreads) sample_kernel(SampleTask task) {
  __shared__ Scratch scratch;
  let_next_start();
  wait_for_previous();
  const int index = blockIdx.x;
  const TokenChoice choice = task.choices[index];
  if (choice.temperature < kGreedyTemperature) return;
  float* row = task.logits + static_cast<std::int64_t>(index) * task.vocab_size;
  const float most = value_of(static_cast<std::uint32_t>(task.best[index] >> 32));
  std::int32_t token = kNoToken;
  if (fabsf(most) < CUDART_INF_F)  // nor NaN
    token = choose(row, task.vocab_size, choice, most, scratch);
  if (threadIdx.x == 0) task.best[index] = static_cast<std::uint32_t>(~token);
}

}  // namespace

void sample(const SampleTask& task, StreamHandle stream) {
  launch_kernel(sample_kernel, dim3(task.num_rows), kThreads, 0, stream, task);
}

}  // namespace iol::cuda
