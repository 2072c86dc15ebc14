#include "backend/cpu/cpu_backend.h"

#include <fmt/format.h>

#include <atomic>
#include <cmath>

#include "backend/cpu/cpu_activations.h"
#include "backend/cpu/cpu_kv_cache.h"
#include "backend/cpu/kernels_of.h"
#include "backend/cpu/linear_operation.h"
#include "backend/cpu/packed_matrix.h"
#include "base/error.h"
#include "base/thread_pool.h"

namespace iol {
namespace cpu {
namespace {

Isa checked_isa(std::optional<Isa> wanted) {
  if (!wanted) return best_isa();
  for (const Isa isa : supported_isas()) {
    if (isa == *wanted) return isa;
  }
  throw_input_error("this processor has no {}; the best it runs is {}", isa_name(*wanted),
                    isa_name(best_isa()));
}

const PackedMatrix& packed(const WeightMatrix& matrix) {
  return static_cast<const PackedMatrix&>(matrix);
}
const float* data_of(const VectorPtr& vector) {
  return vector ? static_cast<const PackedVector&>(*vector).data() : nullptr;
}
CpuActivations& scratch_of(Activations& activations) {
  return static_cast<CpuActivations&>(activations);
}

}  // namespace

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const CpuBackendOptions& options)
      : isa_(checked_isa(options.isa)),
        kernels_(kernels_of(isa_)),
        dtype_(options.dtype),
        activation_(dtype_ == DType::kBF16 && kernels_.bf16_activations ? Element::kBf16
                                                                        : Element::kF32),
        threads_(options.num_threads > 0 ? options.num_threads : default_num_threads()),
        linear_(kernels_, activation_, threads_) {
    static_cast<void>(element_of(dtype_));
  }

  [[nodiscard]] std::string name() const override {
    return fmt::format("cpu ({}, {} thread{})", isa_name(isa_), threads_.num_threads(),
                       threads_.num_threads() == 1 ? "" : "s");
  }

  MatrixPtr pack(const StackedMatrix& matrix) override {
    return std::make_unique<PackedMatrix>(matrix, dtype_, threads_);
  }
  VectorPtr upload(const StackedMatrix& vector) override {
    return std::make_unique<PackedVector>(vector);
  }
  std::unique_ptr<KvCache> make_kv_cache(const KvCacheShape& shape) override {
    return std::make_unique<CpuKvCache>(shape);
  }
  std::unique_ptr<Activations> make_activations(const TransformerShape& shape, int max_tokens,
                                                int max_logit_tokens) override {
    return std::make_unique<CpuActivations>(shape, max_tokens, max_logit_tokens,
                                            threads_.num_threads());
  }

  void observe_linear_inputs(LinearInputObserver* observer) override { linear_.observe(observer); }

  void embed(Activations& activations, const StepInput& input, const WeightMatrix& table) override;
  void project_qkv(Activations& activations, const StepInput& input, const LayerWeights& weights,
                   KvCache& cache, int layer) override;
  void attend(Activations& activations, const StepInput& input, const KvCache& cache, int layer,
              std::optional<int> window) override;
  void project_output(Activations& activations, const StepInput& input,
                      const LayerWeights& weights) override;
  void feed_forward(Activations& activations, const StepInput& input,
                    const LayerWeights& weights) override;
  void project_logits(Activations& activations, const StepInput& input,
                      const WeightVector& final_norm, const WeightMatrix& head) override;

  std::span<float> logits(Activations& activations, int row) override {
    auto& a = scratch_of(activations);
    return {a.logits + row * a.logits_stride, static_cast<std::size_t>(a.shape.vocab_size)};
  }
  std::int32_t chosen_token(Activations& activations, int row) override;

 private:
  /// normed[i] = RMSNorm(hidden[rows(i)]) for i in [0, count), as `next` wants it.
  template <class RowOf>
  void normalize(CpuActivations& a, std::int64_t count, const float* weight,
                 const PackedMatrix& next, RowOf row_of);
  void rotate_and_append(CpuActivations& a, const StepInput& input, const LayerWeights& weights,
                         const CacheView& cache, const SequenceSlice& slice, std::int64_t token);

  Isa isa_;
  const KernelTable& kernels_;
  DType dtype_;
  Element activation_;
  ThreadPool threads_;
  LinearOperation linear_;
};

void CpuBackend::embed(Activations& activations, const StepInput& input,
                       const WeightMatrix& table) {
  auto& a = scratch_of(activations);
  IOL_CHECK(input.num_tokens() <= a.max_tokens);
  const std::int64_t hidden = a.shape.hidden_size;
  const std::int64_t half = a.shape.head_dim / 2;
  const float factor = a.shape.rope_attention_factor;
  threads_.for_ranges(input.num_tokens(), 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      packed(table).copy_row(input.token_ids[static_cast<std::size_t>(t)], a.hidden + t * hidden);
      // The step's rotation angles, in f32 as the reference computes them.
      const auto position = static_cast<float>(input.positions[static_cast<std::size_t>(t)]);
      for (std::int64_t i = 0; i < half; ++i) {
        const float angle = position * a.shape.rope_inv_freq[static_cast<std::size_t>(i)];
        a.cosine[t * half + i] = static_cast<float>(std::cos(static_cast<double>(angle))) * factor;
        a.sine[t * half + i] = static_cast<float>(std::sin(static_cast<double>(angle))) * factor;
      }
    }
  });
}

template <class RowOf>
void CpuBackend::normalize(CpuActivations& a, std::int64_t count, const float* weight,
                           const PackedMatrix& next, RowOf row_of) {
  const std::int64_t hidden = a.shape.hidden_size;
  const Element element = linear_.operand_element(next);
  const std::int64_t row_bytes =
      row_stride_bytes(next.padded_columns() * element_bytes_of(element));
  threads_.for_ranges(count, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::byte* out = a.normed + i * row_bytes;
      kernels_.rms_norm(
          {a.hidden + row_of(i) * hidden, weight, hidden, a.shape.rms_norm_eps, out, element});
      linear_.quantize_row(a, next, out, element, i);
    }
  });
}

void CpuBackend::rotate_and_append(CpuActivations& a, const StepInput& input,
                                   const LayerWeights& weights, const CacheView& cache,
                                   const SequenceSlice& slice, std::int64_t token) {
  const auto& shape = a.shape;
  const std::int64_t dim = shape.head_dim;
  const std::int64_t position = input.positions[static_cast<std::size_t>(token)];
  float* row = a.qkv + token * a.qkv_stride;
  RopeTask rope;
  rope.cosine = a.cosine + token * (dim / 2);
  rope.sine = a.sine + token * (dim / 2);
  rope.head_dim = dim;
  rope.eps = shape.rms_norm_eps;
  for (int head = 0; head < shape.num_heads + shape.num_kv_heads; ++head) {
    rope.head = row + head * dim;
    rope.norm = data_of(head < shape.num_heads ? weights.q_norm : weights.k_norm);
    kernels_.rope(rope);
  }
  AppendTask append;
  append.cache = cache;
  append.block = slice.block_table[static_cast<std::size_t>(position / cache.block_size)];
  append.offset = position % cache.block_size;
  for (int head = 0; head < shape.num_kv_heads; ++head) {
    append.kv_head = head;
    append.key = row + (shape.num_heads + head) * dim;
    append.value = row + (shape.num_heads + shape.num_kv_heads + head) * dim;
    kernels_.append(append);
  }
}

void CpuBackend::project_qkv(Activations& activations, const StepInput& input,
                             const LayerWeights& weights, KvCache& cache, int layer) {
  auto& a = scratch_of(activations);
  const auto& matrix = packed(*weights.qkv);
  normalize(a, input.num_tokens(), data_of(weights.input_norm), matrix,
            [](std::int64_t i) { return i; });
  LinearTask task =
      linear_.task(a, matrix, a.normed, linear_.operand_element(matrix), input.num_tokens());
  task.bias = data_of(weights.qkv_bias);
  task.out = a.qkv;
  task.out_stride = a.qkv_stride;
  linear_.run(a, task, matrix.num_panels());

  const CacheView view = static_cast<CpuKvCache&>(cache).layer(layer);
  threads_.for_ranges(input.num_tokens(), 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (const auto& slice : input.sequences) {
      const std::int64_t first = std::max<std::int64_t>(begin, slice.first_token);
      const std::int64_t last = std::min<std::int64_t>(end, slice.first_token + slice.num_tokens);
      for (std::int64_t token = first; token < last; ++token) {
        rotate_and_append(a, input, weights, view, slice, token);
      }
    }
  });
}

void CpuBackend::attend(Activations& activations, const StepInput& input, const KvCache& cache,
                        int layer, std::optional<int> window) {
  auto& a = scratch_of(activations);
  const auto& shape = a.shape;
  const std::int64_t group = shape.num_heads / shape.num_kv_heads;
  const std::int64_t tile_tokens = std::max<std::int64_t>(1, kQueryRows / group);
  const std::int64_t element_bytes = element_bytes_of(activation_);
  const std::int64_t dim = shape.head_dim;
  IOL_CHECK(group <= kQueryRows);

  AttentionTask base;
  base.cache = static_cast<const CpuKvCache&>(cache).layer(layer);
  base.group = group;
  base.window = window.value_or(0);
  base.query_stride = a.qkv_stride;
  base.scale = 1.0F / std::sqrt(static_cast<float>(dim));
  base.out_stride = row_stride(shape.num_heads * dim, activation_);
  base.out_element = activation_;

  // Items are (slice, token tile, kv head); their cost varies with the context, so threads take the
  // next free one.
  std::atomic<std::int64_t> next_item{0};
  threads_.run([&](int thread) {
    std::int64_t item = next_item.fetch_add(1, std::memory_order_relaxed);
    std::int64_t first_item = 0;
    for (const auto& slice : input.sequences) {
      const std::int64_t tiles = (slice.num_tokens + tile_tokens - 1) / tile_tokens;
      const std::int64_t items = tiles * shape.num_kv_heads;
      for (; item < first_item + items; item = next_item.fetch_add(1, std::memory_order_relaxed)) {
        const std::int64_t offset = (item - first_item) / shape.num_kv_heads * tile_tokens;
        const std::int64_t head = (item - first_item) % shape.num_kv_heads;
        const std::int64_t token = slice.first_token + offset;
        AttentionTask task = base;
        task.block_table = slice.block_table.data();
        task.kv_head = head;
        task.num_tokens = std::min(tile_tokens, slice.num_tokens - offset);
        task.first_position = slice.first_position + offset;
        task.queries = a.qkv + token * a.qkv_stride + head * group * dim;
        task.out = a.attended + (token * task.out_stride + head * group * dim) * element_bytes;
        task.scratch = a.scratch[static_cast<std::size_t>(thread)];
        kernels_.attention(task);
      }
      first_item += items;
    }
  });
}

void CpuBackend::project_output(Activations& activations, const StepInput& input,
                                const LayerWeights& weights) {
  auto& a = scratch_of(activations);
  const auto& matrix = packed(*weights.output);
  linear_.quantize(a, matrix, a.attended, activation_, input.num_tokens());
  LinearTask task = linear_.task(a, matrix, a.attended, activation_, input.num_tokens());
  task.bias = data_of(weights.output_bias);
  task.epilogue = Epilogue::kAdd;
  task.out = a.hidden;
  task.out_stride = a.shape.hidden_size;
  linear_.run(a, task, matrix.num_panels());
}

void CpuBackend::feed_forward(Activations& activations, const StepInput& input,
                              const LayerWeights& weights) {
  auto& a = scratch_of(activations);
  const auto& gate_up = packed(*weights.gate_up);
  const auto& down = packed(*weights.down);
  normalize(a, input.num_tokens(), data_of(weights.post_attention_norm), gate_up,
            [](std::int64_t i) { return i; });
  LinearTask task =
      linear_.task(a, gate_up, a.normed, linear_.operand_element(gate_up), input.num_tokens());
  task.bias = data_of(weights.gate_up_bias);
  task.epilogue = Epilogue::kSwiGlu;
  task.out_activation = a.gated;
  task.out_element = linear_.operand_element(down);
  task.out_stride = row_stride(down.padded_columns(), task.out_element);
  task.out_columns = a.shape.intermediate_size;
  linear_.run(a, task, gate_up.num_panels());

  linear_.quantize(a, down, a.gated, task.out_element, input.num_tokens());
  LinearTask second = linear_.task(a, down, a.gated, task.out_element, input.num_tokens());
  second.bias = data_of(weights.down_bias);
  second.epilogue = Epilogue::kAdd;
  second.out = a.hidden;
  second.out_stride = a.shape.hidden_size;
  linear_.run(a, second, down.num_panels());
}

void CpuBackend::project_logits(Activations& activations, const StepInput& input,
                                const WeightVector& final_norm, const WeightMatrix& head) {
  auto& a = scratch_of(activations);
  const auto count = static_cast<std::int64_t>(input.logit_tokens.size());
  if (count == 0) return;
  IOL_CHECK(count <= a.max_logit_tokens);
  const auto& matrix = packed(head);
  normalize(a, count, static_cast<const PackedVector&>(final_norm).data(), matrix,
            [&](std::int64_t i) { return input.logit_tokens[static_cast<std::size_t>(i)]; });
  LinearTask task = linear_.task(a, matrix, a.normed, linear_.operand_element(matrix), count);
  task.out = a.logits;
  task.out_stride = a.logits_stride;
  task.out_columns = a.logits_stride;  // the padding of the last panel has room
  threads_.run([&](int thread) {
    const auto [begin, end] = threads_.range_of(thread, matrix.num_panels());
    kernels_.linear(task, begin, end,
                    reinterpret_cast<float*>(a.scratch[static_cast<std::size_t>(thread)]));
    // Each thread finds the best of what it just wrote; chosen_token() compares the threads'
    // answers.
    const std::int64_t first = begin * kPanelColumns;
    const std::int64_t last = std::min<std::int64_t>(end * kPanelColumns, a.shape.vocab_size);
    for (std::int64_t row = 0; row < count; ++row) {
      auto& best = a.best[static_cast<std::size_t>(thread * a.max_logit_tokens + row)];
      best = first < last ? kernels_.argmax(a.logits + row * a.logits_stride, first, last)
                          : ArgMax{-INFINITY, a.shape.vocab_size};
    }
  });
}

std::int32_t CpuBackend::chosen_token(Activations& activations, int row) {
  auto& a = scratch_of(activations);
  ArgMax best{-INFINITY, a.shape.vocab_size};
  for (int thread = 0; thread < threads_.num_threads(); ++thread) {
    const ArgMax& other = a.best[static_cast<std::size_t>(thread * a.max_logit_tokens + row)];
    if (std::isnan(other.value)) return kNoToken;
    if (other.value > best.value) best = other;
  }
  return best.value > -INFINITY ? best.index : kNoToken;
}

}  // namespace cpu

std::unique_ptr<Backend> make_cpu_backend(const CpuBackendOptions& options) {
  return std::make_unique<cpu::CpuBackend>(options);
}

std::size_t cpu_activation_bytes(const TransformerShape& shape, int max_tokens,
                                 int max_logit_tokens, int num_threads) {
  return cpu::CpuActivations(shape, max_tokens, max_logit_tokens, num_threads).size_bytes();
}

}  // namespace iol
