#include "backend/cuda/step_operations.h"

#include <cmath>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/cuda_kv_cache.h"
#include "backend/cuda/decode_shares.h"

namespace iol::cuda {
namespace {

const float* data_of(const VectorPtr& vector) {
  return vector ? static_cast<const CudaVector&>(*vector).data() : nullptr;
}

/// True when the product of a single token's row leaves RowTraits of the row that it writes.
bool leaves_traits(const CudaMatrix& matrix, const OperandRows& x) {
  return x.form == RowForm::kUnmade && is_coded(matrix.view().layout);
}

}  // namespace

void StepOperations::begin(const StepSizes& sizes) {
  sizes_ = sizes;
  linear_.forget();
}

void StepOperations::embed(CudaActivations& a, const WeightMatrix& table) {
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
  cuda::embed(task, stream_->get());
  check_launch("embedding tokens");
  has_hidden_traits_ = false;
  hidden_rows_ = {};
  a.num_added = 0;
  a.num_coded = 0;
}

void StepOperations::project_qkv(CudaActivations& a, const LayerWeights& weights, KvCache& cache,
                                 int layer) {
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
  rope_append(rope, stream_->get());
  check_launch("rotating queries and keys");
}

Element StepOperations::compute_element() const {
  if (dtype_ == DType::kF32) return Element::kF32;
  return dtype_ == DType::kBF16 ? Element::kBf16 : Element::kF16;
}

Element StepOperations::query_element(CacheElement cache) const {
  if (dtype_ == DType::kF32 || cache == CacheElement::kF32) return Element::kF32;
  return cache == CacheElement::kBf16 ? Element::kBf16 : Element::kF16;
}

float* StepOperations::query_scales(CudaActivations& a, CacheElement cache) const {
  return is_coded(cache) && query_element(cache) == Element::kF16 ? a.query_scales : nullptr;
}

void StepOperations::attend(CudaActivations& a, const KvCache& cache, int layer,
                            std::optional<int> window) {
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
    attention_f32(task, arrays.token_slices, stream_->get());
  } else {
    attend_tiles(a, task);
  }
  check_launch("computing attention");
}

/// Decodes, then what else goes in tiles of 16 rows, then prompts.
void StepOperations::attend_tiles(CudaActivations& a, AttentionTask& task) {
  task.tile_rows = kDecodeTileRows;
  task.max_chunks = sizes_.max_chunks;
  task.partial_sums = a.partial_sums;
  task.partial_stats = a.partial_stats;
  task.arrivals = a.arrivals;
  task.num_tiles = sizes_.num_decodes;
  task.first_queries = a.inputs.arrays().first_queries;
  task.first_partials = a.inputs.arrays().first_partials;
  task.shares = most_shares(sizes_.num_decodes, a.shape.num_kv_heads, sizes_.max_chunks);
  attention_decode(task, heads_, stream_->get());
  task.tiles = a.inputs.arrays().small_tiles;
  task.num_tiles = sizes_.num_small_tiles;
  task.split = sizes_.max_chunks > 1 &&
               task.num_tiles * a.shape.num_kv_heads * sizes_.max_chunks <= kPartialEntries;
  attention(task, stream_->get());
  task.tiles = a.inputs.arrays().prefill_tiles;
  task.num_tiles = sizes_.num_prefill_tiles;
  task.tile_rows = kPrefillTileRows;
  task.split = false;
  attention(task, stream_->get());
}

RowSource StepOperations::normed_hidden(const CudaActivations& a, const float* norm) const {
  return {a.hidden, Element::kF32,        a.shape.hidden_size,
          norm,     a.shape.rms_norm_eps, has_hidden_traits_ ? a.hidden_traits : RowTraits()};
}

OperandRows StepOperations::normed_rows(CudaActivations& a, const MatrixView& matrix,
                                        const float* norm) {
  const RowSource source = normed_hidden(a, norm);
  if (hidden_norm_ == norm) {
    const auto left =
        linear_.rows_left(matrix, hidden_rows_, hidden_largest_, source, sizes_.num_tokens);
    if (left) return *left;
  }
  return linear_.prepare(a, matrix, source, sizes_.num_tokens);
}

void StepOperations::add_to_hidden(CudaActivations& a, const CudaMatrix& matrix,
                                   const VectorPtr& bias, const OperandRows& x,
                                   const float* next_norm, const MatrixView& next) {
  LinearTask task;
  task.bias = data_of(bias);
  task.epilogue = Epilogue::kAdd;
  task.out = a.hidden;
  task.out_stride = a.shape.hidden_size;
  task.out_columns = a.shape.hidden_size;
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

void StepOperations::project_output(CudaActivations& a, const LayerWeights& weights) {
  const CudaMatrix& matrix = matrix_of(*weights.output);
  RowTraits traits;
  if (sizes_.num_tokens == 1 && attended_largest_ != nullptr)
    traits = {nullptr, reinterpret_cast<float*>(attended_largest_), 1};
  const OperandRows x = linear_.rows_from(a, matrix.view(), a.attended, compute_element(),
                                          sizes_.num_tokens, traits, attended_largest_);
  add_to_hidden(a, matrix, weights.output_bias, x, data_of(weights.post_attention_norm),
                matrix_of(*weights.gate_up).view());
}

void StepOperations::feed_forward(CudaActivations& a, const LayerWeights& weights) {
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

  const OperandRows gated = linear_.rows_from(a, down.view(), a.gated, task.out_element,
                                              sizes_.num_tokens, task.left, task.next_largest);
  const float* next = weights.next_norm != nullptr
                          ? static_cast<const CudaVector&>(*weights.next_norm).data()
                          : nullptr;
  // The next layer's QKV is as this one's.
  add_to_hidden(a, down, weights.down_bias, gated, next, matrix_of(*weights.qkv).view());
}

void StepOperations::project_logits(CudaActivations& a, const WeightVector& final_norm,
                                    const WeightMatrix& head) {
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

}  // namespace iol::cuda
