#include "backend/cuda/cuda_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "backend/cuda/cuda_activations.h"
#include "backend/cuda/cuda_device.h"
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/cuda_kv_cache.h"
#include "backend/cuda/cuda_matrix.h"
#include "backend/cuda/cuda_swap_space.h"
#include "backend/cuda/decode_shares.h"
#include "backend/cuda/kernels/kernel_level.h"
#include "backend/cuda/kernels/kernels.h"
#include "backend/cuda/kernels/sample.h"
#include "backend/cuda/kernels/step_copies.h"
#include "backend/cuda/linear_operation.h"
#include "base/cpu.h"

namespace iol {
namespace cuda {
namespace {

const float* data_of(const VectorPtr& vector) {
  return vector ? static_cast<const CudaVector&>(*vector).data() : nullptr;
}
CudaActivations& scratch_of(Activations& activations) {
  return static_cast<CudaActivations&>(activations);
}

void check_compute_dtype(DType dtype) {
  if (dtype != DType::kF32 && dtype != DType::kF16 && dtype != DType::kBF16)
    throw_input_error("the CUDA backend computes in f32, f16 or bf16, not in {}",
                      dtype_name(dtype));
}

/// Of so many rows' results, as they are copied: in units of 16 bytes.
std::size_t result_bytes(int num_logits) {
  return (static_cast<std::size_t>(num_logits) * sizeof(unsigned long long) + 15) / 16 * 16;
}

/// Makes a GPU the calling thread's.
struct DeviceGuard {
  explicit DeviceGuard(int index) { check(cudaSetDevice(index), "selecting the GPU"); }
};

}  // namespace

/// True when the product of a single token's row leaves RowTraits of the row that it writes.
bool leaves_traits(const CudaMatrix& matrix, const OperandRows& x) {
  return x.form == RowForm::kUnmade && is_coded(matrix.view().layout);
}

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaBackendOptions& options)
      : device_(usable_device(options.index)),
        guard_(options.index),
        dtype_(options.dtype),
        num_threads_(options.num_threads > 0 ? options.num_threads : default_num_threads()),
        packer_(stream_, num_threads_),
        linear_(stream_, options.dtype, options.deterministic) {
    check_compute_dtype(dtype_);
    check_kernel_level();
  }

  [[nodiscard]] std::string name() const override {
    return fmt::format("cuda:{} ({}, sm_{})", device_.index, device_.name, device_.capability);
  }
  MatrixPtr pack(const StackedMatrix& matrix) override {
    select();
    return packer_.pack(matrix, dtype_);
  }
  VectorPtr upload(const StackedMatrix& vector) override {
    select();
    return std::make_unique<CudaVector>(vector);
  }
  std::unique_ptr<KvCache> make_kv_cache(const KvCacheShape& shape) override {
    select();
    return std::make_unique<CudaKvCache>(shape);
  }
  std::unique_ptr<KvSwapSpace> make_swap_space(KvCache& cache, int num_slots) override {
    select();
    return std::make_unique<CudaSwapSpace>(static_cast<CudaKvCache&>(cache), num_slots,
                                           num_threads_, stream_);
  }
  std::unique_ptr<Activations> make_activations(const TransformerShape& shape, int max_tokens,
                                                int max_logit_tokens) override {
    select();
    return std::make_unique<CudaActivations>(shape, max_tokens, max_logit_tokens);
  }
  void observe_linear_inputs(LinearInputObserver* observer) override { linear_.observe(observer); }

  void run_step(Activations& activations, const StepInput& input, const void* model,
                const KvCache& cache, const std::function<void()>& operations) override;
  void prepare_steps(Activations& activations, const StepLimits& limits, const void* model,
                     const KvCache& cache, const std::function<void()>& operations) override;
  [[nodiscard]] bool samples() const override { return true; }
  [[nodiscard]] bool runs_ahead() const override { return true; }
  [[nodiscard]] bool ran_prepared() const override { return ran_prepared_; }
  void finish_step(Activations& activations) override;
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
  std::span<float> logits(Activations& activations, int row) override;
  std::int32_t chosen_token(Activations& activations, int row) override;

 private:
  void select() const { DeviceGuard guard(device_.index); }
  /// Brings the step's input to the device, padded to `sizes`.
  void begin(CudaActivations& a, const StepInput& input, const StepSizes& sizes, int block_size);
  void attend_tiles(CudaActivations& a, AttentionTask& task);
  /// The residual stream to be normalized.
  [[nodiscard]] RowSource normed_hidden(const CudaActivations& a, const float* norm) const;
  /// What `matrix` multiplies of it, left by the product in front or made now.
  OperandRows normed_rows(CudaActivations& a, const MatrixView& matrix, const float* norm);
  /// `next_norm`: of the kernel that reads the residual stream next, or null; `next`: what it then
  /// multiplies with, as far as is known.
  void add_to_hidden(CudaActivations& a, const CudaMatrix& matrix, LinearTask& task,
                     const OperandRows& x, const float* next_norm, const MatrixView& next);
  [[nodiscard]] bool has_decode_kernel(const KvCache& cache) const;
  /// Behind a step, where not all tokens are those with the largest logits. Not a part of what is
  /// captured: it would give every step a second form.
  void draw_tokens(CudaActivations& a, const StepInput& input);
  /// Behind that: copies what the host reads of it.
  void fetch_results(CudaActivations& a, int num_logits);
  /// What queries are multiplied with keys as.
  [[nodiscard]] Element query_element(CacheElement cache) const;
  /// What they are divided by: see RopeAppendTask.
  [[nodiscard]] float* query_scales(CudaActivations& a, CacheElement cache) const;
  [[nodiscard]] Element compute_element() const;

  const CudaDevice& device_;
  DeviceGuard guard_;
  DType dtype_;
  int num_threads_;  // of the host
  Stream stream_;
  MatrixPacker packer_;
  LinearOperation linear_;
  // Of the step at hand.
  bool in_step_ = false;
  StepSizes sizes_;
  const MatrixView* output_ = nullptr;  // of the layer: multiplies what attention gives
  RopeAppendTask heads_;                // of the layer: what the QKV projection gave
  bool has_hidden_traits_ = false;      // those of the activations are of what is in `hidden`
  NormedRows hidden_rows_;              // left of it, for a matrix behind `hidden_norm_`
  const float* hidden_norm_ = nullptr;
  const std::uint32_t* hidden_largest_ = nullptr;  // of those rows, where it codes_rows()
  std::uint32_t* attended_largest_ = nullptr;      // likewise, of what attention gives
  bool ran_prepared_ = true;                       // of the last step: its form was captured before
};

void CudaBackend::begin(CudaActivations& a, const StepInput& input, const StepSizes& sizes,
                        int block_size) {
  select();
  IOL_CHECK(sizes.num_tokens <= a.max_tokens && sizes.num_logits <= a.max_logit_tokens);
  sizes_ = sizes;
  IOL_CHECK(a.num_begun - a.num_finished < 2);  // whose turn it is has been read
  a.inputs.upload(input, sizes, block_size, stream_);
}

void CudaBackend::run_step(Activations& activations, const StepInput& input, const void* model,
                           const KvCache& cache, const std::function<void()>& operations) {
  auto& a = scratch_of(activations);
  const auto run = [&] {
    operations();
    linear_.flush();
  };
  const StepForms& forms = a.inputs.forms();
  const bool capturable = forms.has_few_tokens(input) && !linear_.is_observed();
  const bool decodes = has_decode_kernel(cache);
  begin(a, input, capturable ? forms.padded_sizes(input, decodes) : forms.sizes_of(input, decodes),
        cache.shape().block_size);
  in_step_ = true;
  linear_.forget();
  try {
    if (a.graph_generation != a.inputs.table_generation()) {
      stream_.synchronize("a step");
      a.graphs.clear();
    }
    a.graph_generation = a.inputs.table_generation();
    ran_prepared_ = true;
    if (capturable) {
      ran_prepared_ = a.graphs.run({sizes_, model, &cache}, stream_, run);
    } else {
      run();
    }
    draw_tokens(a, input);
    fetch_results(a, static_cast<int>(input.logit_tokens.size()));
  } catch (...) {
    in_step_ = false;
    throw;
  }
  in_step_ = false;
}

void CudaBackend::prepare_steps(Activations& activations, const StepLimits& limits,
                                const void* model, const KvCache& cache,
                                const std::function<void()>& operations) {
  constexpr std::size_t kMost = 96;  // graphs, of a model of 32 layers a quarter of a second
  auto& a = scratch_of(activations);
  if (linear_.is_observed()) return;
  select();
  auto sizes = a.inputs.forms().padded_sizes_within(limits, has_decode_kernel(cache));
  if (sizes.size() > kMost) sizes.resize(kMost);
  for (const StepSizes& form : sizes) {
    sizes_ = form;
    a.inputs.place(form);
    linear_.forget();
    in_step_ = true;
    const bool is_there = a.graphs.prepare({form, model, &cache}, stream_, [&] {
      operations();
      linear_.flush();
    });
    in_step_ = false;
    if (!is_there) return;
  }
}

bool CudaBackend::has_decode_kernel(const KvCache& cache) const {
  const CacheView view = static_cast<const CudaKvCache&>(cache).layer(0);
  return query_element(view.element) != Element::kF32 && attention_decodes(view);
}

void CudaBackend::draw_tokens(CudaActivations& a, const StepInput& input) {
  const auto is_drawn = [](const TokenChoice& choice) { return choice.temperature > 0; };
  if (std::ranges::none_of(input.choices, is_drawn)) return;
  const auto num_rows = static_cast<int>(input.choices.size());
  sample({a.logits, a.inputs.arrays().choices, num_rows, a.shape.vocab_size, a.best},
         stream_.get());
  check_launch("choosing tokens");
}

void CudaBackend::fetch_results(CudaActivations& a, int num_logits) {
  auto& results = a.results[a.num_begun % 2];
  if (num_logits > 0) {
    leave_results({a.best, results.best.data(), result_bytes(num_logits)}, stream_.get());
    check_launch("copying results");
  }
  results.done.record(stream_);
  results.num_logits = num_logits;
  ++a.num_begun;
}

void CudaBackend::finish_step(Activations& activations) {
  auto& a = scratch_of(activations);
  IOL_CHECK(a.num_finished < a.num_begun);
  const auto& results = a.results[a.num_finished++ % 2];
  a.logits_are_here = false;
  results.done.synchronize();
}

void CudaBackend::embed(Activations& activations, const StepInput&, const WeightMatrix& table) {
  auto& a = scratch_of(activations);
  IOL_CHECK(in_step_);
  const StepArrays& arrays = a.inputs.arrays();
  EmbedTask task;
  task.table = matrix_of(table).view();
  task.token_ids = arrays.token_ids;
  task.best = a.best;
  task.positions = arrays.positions;
  task.inv_freq = a.inv_freq;
  task.attention_factor = a.shape.rope_attention_factor;
  task.num_tokens = sizes_.num_tokens;
  task.half_dim = a.shape.head_dim / 2;
  task.hidden = a.hidden;
  if (sizes_.num_tokens > 1 && sizes_.num_tokens <= kMostNormedTokens) {
    task.squares = a.squares;
    task.num_squares = 2 * a.shape.num_layers;
  }
  if (sizes_.num_tokens <= kMostCodedTokens) {
    task.largest = a.largest;
    task.num_largest = 4 * a.shape.num_layers;
  }
  task.cosine = a.cosine;
  task.sine = a.sine;
  cuda::embed(task, stream_.get());
  check_launch("embedding tokens");
  has_hidden_traits_ = false;
  hidden_rows_ = {};
  a.num_added = 0;
  a.num_coded = 0;
}

void CudaBackend::project_qkv(Activations& activations, const StepInput&,
                              const LayerWeights& weights, KvCache& cache, int layer) {
  auto& a = scratch_of(activations);
  const CudaMatrix& matrix = matrix_of(*weights.qkv);
  const int qkv_columns = (a.shape.num_heads + 2 * a.shape.num_kv_heads) * a.shape.head_dim;
  output_ = &matrix_of(*weights.output).view();
  const OperandRows x = normed_rows(a, matrix.view(), data_of(weights.input_norm));
  LinearTask task;
  task.bias = data_of(weights.qkv_bias);
  task.out = a.qkv;
  task.out_stride = qkv_columns;
  task.out_columns = qkv_columns;
  linear_.multiply(a, matrix, task, x, sizes_.num_tokens);

  RopeAppendTask rope;
  rope.qkv = a.qkv;
  rope.q_norm = data_of(weights.q_norm);
  rope.k_norm = data_of(weights.k_norm);
  rope.eps = a.shape.rms_norm_eps;
  rope.cosine = a.cosine;
  rope.sine = a.sine;
  rope.positions = a.inputs.arrays().positions;
  rope.blocks = a.inputs.arrays().blocks;
  rope.tokens = a.inputs.arrays().rotated_tokens;
  rope.num_tokens = sizes_.num_rotated_tokens;
  rope.num_heads = a.shape.num_heads;
  rope.cache = static_cast<CudaKvCache&>(cache).layer(layer);
  rope.queries = a.queries;
  rope.query_element = query_element(rope.cache.element);
  rope.query_scales = query_scales(a, rope.cache.element);
  heads_ = rope;
  if (rope.num_tokens == 0) return;
  linear_.flush();
  rope_append(rope, stream_.get());
  check_launch("rotating queries and keys");
}

Element CudaBackend::compute_element() const {
  if (dtype_ == DType::kF32) return Element::kF32;
  return dtype_ == DType::kBF16 ? Element::kBf16 : Element::kF16;
}

Element CudaBackend::query_element(CacheElement cache) const {
  if (dtype_ == DType::kF32 || cache == CacheElement::kF32) return Element::kF32;
  return cache == CacheElement::kBf16 ? Element::kBf16 : Element::kF16;
}

float* CudaBackend::query_scales(CudaActivations& a, CacheElement cache) const {
  return is_coded(cache) && query_element(cache) == Element::kF16 ? a.query_scales : nullptr;
}

void CudaBackend::attend(Activations& activations, const StepInput&, const KvCache& cache,
                         int layer, std::optional<int> window) {
  auto& a = scratch_of(activations);
  const StepArrays& arrays = a.inputs.arrays();
  AttentionTask task;
  task.cache = static_cast<const CudaKvCache&>(cache).layer(layer);
  task.waits_long = linear_.flush();
  task.slices = arrays.slices;
  task.tables = arrays.tables;
  task.num_tokens = sizes_.num_tokens;
  task.num_heads = a.shape.num_heads;
  task.window = window.value_or(0);
  task.scale = 1.0F / std::sqrt(static_cast<float>(a.shape.head_dim));
  task.queries = a.queries;
  task.query_element = query_element(task.cache.element);
  task.query_scales = query_scales(a, task.cache.element);
  task.out = a.attended;
  task.out_element = compute_element();
  task.out_stride = a.shape.num_heads * a.shape.head_dim;
  task.out_run = linear_.result_run(*output_, task.out_element, sizes_.num_tokens);
  attended_largest_ = nullptr;
  const bool are_decodes = sizes_.num_small_tiles == 0 && sizes_.num_prefill_tiles == 0 &&
                           task.query_element != Element::kF32;
  const bool are_coded_late =
      task.num_tokens == 1
          ? is_coded(output_->layout)
          : task.out_element == Element::kBf16 && linear_.codes_rows(*output_, task.num_tokens);
  if (are_decodes && are_coded_late) attended_largest_ = task.next_largest = a.take_largest();
  if (task.query_element == Element::kF32) {
    attention_f32(task, arrays.token_slices, stream_.get());
  } else {
    attend_tiles(a, task);
  }
  check_launch("computing attention");
}

/// Decodes, then what else goes in tiles of 16 rows, then prompts.
void CudaBackend::attend_tiles(CudaActivations& a, AttentionTask& task) {
  task.tile_rows = kDecodeTileRows;
  task.max_chunks = sizes_.max_chunks;
  task.partial_sums = a.partial_sums;
  task.partial_stats = a.partial_stats;
  task.arrivals = a.arrivals;
  task.num_tiles = sizes_.num_decodes;
  task.first_queries = a.inputs.arrays().first_queries;
  task.first_partials = a.inputs.arrays().first_partials;
  task.shares = most_shares(sizes_.num_decodes, a.shape.num_kv_heads, sizes_.max_chunks);
  attention_decode(task, heads_, stream_.get());
  task.tiles = a.inputs.arrays().small_tiles;
  task.num_tiles = sizes_.num_small_tiles;
  task.split = sizes_.max_chunks > 1 &&
               task.num_tiles * a.shape.num_kv_heads * sizes_.max_chunks <= kPartialEntries;
  attention(task, stream_.get());
  task.tiles = a.inputs.arrays().prefill_tiles;
  task.num_tiles = sizes_.num_prefill_tiles;
  task.tile_rows = kPrefillTileRows;
  task.split = false;
  attention(task, stream_.get());
}

RowSource CudaBackend::normed_hidden(const CudaActivations& a, const float* norm) const {
  return {a.hidden, Element::kF32,        a.shape.hidden_size,
          norm,     a.shape.rms_norm_eps, has_hidden_traits_ ? a.hidden_traits : RowTraits()};
}

OperandRows CudaBackend::normed_rows(CudaActivations& a, const MatrixView& matrix,
                                     const float* norm) {
  const RowSource source = normed_hidden(a, norm);
  if (hidden_norm_ == norm) {
    const auto left =
        linear_.rows_left(matrix, hidden_rows_, hidden_largest_, source, sizes_.num_tokens);
    if (left) return *left;
  }
  return linear_.prepare(a, matrix, source, sizes_.num_tokens);
}

void CudaBackend::add_to_hidden(CudaActivations& a, const CudaMatrix& matrix, LinearTask& task,
                                const OperandRows& x, const float* next_norm,
                                const MatrixView& next) {
  has_hidden_traits_ = leaves_traits(matrix, x) && next_norm != nullptr;
  if (has_hidden_traits_) task.left = a.hidden_traits;
  hidden_norm_ = task.next_norm = next_norm;
  hidden_rows_ = next_norm == nullptr
                     ? NormedRows()
                     : linear_.rows_to_leave(a, matrix.view(), next, sizes_.num_tokens);
  task.next = hidden_rows_;
  hidden_largest_ = nullptr;
  if (hidden_rows_.values != nullptr && linear_.codes_rows(next, sizes_.num_tokens))
    hidden_largest_ = task.next_largest = a.take_largest();
  ++a.num_added;
  linear_.multiply(a, matrix, task, x, sizes_.num_tokens);
}

void CudaBackend::project_output(Activations& activations, const StepInput&,
                                 const LayerWeights& weights) {
  auto& a = scratch_of(activations);
  const CudaMatrix& matrix = matrix_of(*weights.output);
  LinearTask task;
  task.bias = data_of(weights.output_bias);
  task.epilogue = Epilogue::kAdd;
  task.out = a.hidden;
  task.out_stride = a.shape.hidden_size;
  task.out_columns = a.shape.hidden_size;
  RowTraits traits;
  if (sizes_.num_tokens == 1 && attended_largest_ != nullptr)
    traits = {nullptr, reinterpret_cast<float*>(attended_largest_), 1};
  const OperandRows x = linear_.rows_from(a, matrix.view(), a.attended, compute_element(),
                                          sizes_.num_tokens, traits, attended_largest_);
  add_to_hidden(a, matrix, task, x, data_of(weights.post_attention_norm),
                matrix_of(*weights.gate_up).view());
}

void CudaBackend::feed_forward(Activations& activations, const StepInput&,
                               const LayerWeights& weights) {
  auto& a = scratch_of(activations);
  const CudaMatrix& gate_up = matrix_of(*weights.gate_up);
  const CudaMatrix& down = matrix_of(*weights.down);
  const OperandRows x = normed_rows(a, gate_up.view(), data_of(weights.post_attention_norm));
  LinearTask task;
  task.bias = data_of(weights.gate_up_bias);
  task.epilogue = Epilogue::kSwiGlu;
  task.out = a.gated;
  if (linear_.leaves_rows(gate_up.view(), sizes_.num_tokens) &&
      linear_.codes_rows(down.view(), sizes_.num_tokens))
    task.next_largest = a.take_largest();
  task.out_element = task.next_largest != nullptr
                         ? Element::kBf16
                         : linear_.result_element(down.view(), sizes_.num_tokens);
  task.out_run = linear_.result_run(down.view(), task.out_element, sizes_.num_tokens);
  task.out_stride = a.shape.intermediate_size;
  task.out_columns = a.shape.intermediate_size;
  if (leaves_traits(gate_up, x)) task.left = a.gated_traits;
  linear_.multiply(a, gate_up, task, x, sizes_.num_tokens);

  LinearTask second;
  second.bias = data_of(weights.down_bias);
  second.epilogue = Epilogue::kAdd;
  second.out = a.hidden;
  second.out_stride = a.shape.hidden_size;
  second.out_columns = a.shape.hidden_size;
  const OperandRows gated = linear_.rows_from(a, down.view(), a.gated, task.out_element,
                                              sizes_.num_tokens, task.left, task.next_largest);
  const float* next = weights.next_norm != nullptr
                          ? static_cast<const CudaVector&>(*weights.next_norm).data()
                          : nullptr;
  add_to_hidden(a, down, second, gated, next, matrix_of(*weights.qkv).view());  // as the next
}

void CudaBackend::project_logits(Activations& activations, const StepInput&,
                                 const WeightVector& final_norm, const WeightMatrix& head) {
  auto& a = scratch_of(activations);
  const int count = sizes_.num_logits;
  if (count == 0) return;
  const CudaMatrix& matrix = matrix_of(head);
  const OperandRows x = linear_.prepare(
      a, matrix.view(), normed_hidden(a, static_cast<const CudaVector&>(final_norm).data()), count,
      a.inputs.arrays().logit_tokens, a.best);
  LinearTask task;
  task.epilogue = Epilogue::kLogits;
  task.out = a.logits;
  task.out_stride = a.shape.vocab_size;
  task.out_columns = a.shape.vocab_size;
  task.best = a.best;
  linear_.multiply(a, matrix, task, x, count);
  linear_.flush();
}

std::span<float> CudaBackend::logits(Activations& activations, int row) {
  auto& a = scratch_of(activations);
  const int num_logits = a.finished_last().num_logits;
  IOL_CHECK(row < num_logits && a.num_finished == a.num_begun);
  const auto vocabulary = static_cast<std::size_t>(a.shape.vocab_size);
  auto* host = reinterpret_cast<float*>(a.host_logits.data());
  if (!a.logits_are_here) {
    select();
    const std::size_t bytes = static_cast<std::size_t>(num_logits) * vocabulary * sizeof(float);
    check(cudaMemcpyAsync(host, a.logits, bytes, cudaMemcpyDeviceToHost, stream_.get()),
          "copying logits");
    stream_.synchronize("copying logits");
    a.logits_are_here = true;
  }
  return {host + static_cast<std::size_t>(row) * vocabulary, vocabulary};
}

std::int32_t CudaBackend::chosen_token(Activations& activations, int row) {
  auto& a = scratch_of(activations);
  const auto& results = a.finished_last();
  IOL_CHECK(row < results.num_logits);
  const auto key = reinterpret_cast<const unsigned long long*>(results.best.data())[row];
  const std::uint64_t order = key >> 32;  // 0: drawn
  if (order == kOrderOfNan || order == kOrderOfMinusInfinity) return kNoToken;
  return static_cast<std::int32_t>(~static_cast<std::uint32_t>(key));
}

}  // namespace cuda

std::unique_ptr<Backend> make_cuda_backend(const CudaBackendOptions& options) {
  return std::make_unique<cuda::CudaBackend>(options);
}

}  // namespace iol
