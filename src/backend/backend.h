#pragma once
// What a device must do for a transformer: few, coarse operations, each a fused sub-block of the
// forward pass.
//
// Shapes: T tokens of the step, H hidden, F feed-forward, V vocabulary, Nq/Nkv query and key-value
// heads, D head_dim. The residual stream is f32 [T, H] and lives in Activations.
//
// Batch invariance: the result for a token depends on that token's sequence alone - never on its
// neighbours in the step, on the borders of prefill chunks or on the number of threads.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/kv_format.h"
#include "backend/quantized_tensor.h"
#include "backend/token_choice.h"
#include "backend/weight_format.h"
#include "base/dtype.h"
#include "request/block_copy.h"
#include "request/sequence.h"

namespace iol {

/// A tensor of a checkpoint: plain row-major memory that somebody else owns.
struct HostTensor {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  /// Set for a matrix that is quantized already; then `data` and `dtype` mean nothing.
  const QuantizedTensor* quantized = nullptr;

  [[nodiscard]] std::int64_t num_elements() const {
    std::int64_t count = 1;
    for (const auto extent : shape) count *= extent;
    return count;
  }
};

/// How the parts of a stacked matrix share its output columns.
enum class Stacking : std::uint8_t {
  kConcatenated,  // part after part: [q; k; v]
  kInterleaved,   // 16 columns of the first part, 16 of the second, ...: gate and up, for SwiGLU in
                  // the epilogue
};

/// Matrices [rows_i, K] with one K, stacked into one [sum rows_i, K], and the format to pack them
/// in. Parts that are quantized already are so alike: in this format, group size and input order.
struct StackedMatrix {
  std::vector<HostTensor> parts;
  Stacking stacking = Stacking::kConcatenated;
  WeightFormat format = WeightFormat::kNone;
  std::int64_t group_size = kDefaultGroupSize;  // of grouped formats
  std::string name;                             // for messages
};

/// A weight matrix [N, K] in the layout that its backend streams. Immutable.
class WeightMatrix {
 public:
  virtual ~WeightMatrix() = default;
  [[nodiscard]] virtual std::int64_t num_rows() const = 0;     // N, output features
  [[nodiscard]] virtual std::int64_t num_columns() const = 0;  // K, input features
  [[nodiscard]] virtual DType dtype() const = 0;               // of the stored numbers
  /// Bytes on the device, padding included.
  [[nodiscard]] virtual std::size_t size_bytes() const = 0;
};

/// A vector of f32 on the device (norm weights, biases).
class WeightVector {
 public:
  virtual ~WeightVector() = default;
  [[nodiscard]] virtual std::int64_t size() const = 0;
};

using MatrixPtr = std::unique_ptr<const WeightMatrix>;
using VectorPtr = std::unique_ptr<const WeightVector>;  // null where the architecture has none

/// One transformer layer's weights.
struct LayerWeights {
  VectorPtr input_norm;           // [H]
  MatrixPtr qkv;                  // [(Nq + 2 Nkv) D, H]
  VectorPtr qkv_bias;             // [(Nq + 2 Nkv) D]
  VectorPtr q_norm;               // [D]
  VectorPtr k_norm;               // [D]
  MatrixPtr output;               // [H, Nq D]
  VectorPtr output_bias;          // [H]
  VectorPtr post_attention_norm;  // [H]
  MatrixPtr gate_up;              // [2 F, H], interleaved
  VectorPtr gate_up_bias;         // [2 F], interleaved
  MatrixPtr down;                 // [H, F]
  VectorPtr down_bias;            // [H]
  // [H] what the residual stream is multiplied by when the layer is over: the next layer's
  // input_norm or the final norm; null: not known.
  const WeightVector* next_norm = nullptr;
};

/// The sizes an operation needs beyond those of its weights.
struct TransformerShape {
  int hidden_size = 0;
  int intermediate_size = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int vocab_size = 0;
  int num_layers = 0;
  double rms_norm_eps = 1e-5;
  std::vector<float> rope_inv_freq;    // [D / 2]
  float rope_attention_factor = 1.0F;  // scales cos and sin (YaRN)
};

struct KvCacheShape {
  int num_layers = 0;
  int num_blocks = 0;
  int block_size = 16;  // tokens
  int num_kv_heads = 0;
  int head_dim = 0;
  DType dtype = DType::kBF16;  // see kv_format.h

  /// Bytes of one block over all layers: keys and values with their scales.
  [[nodiscard]] std::size_t block_bytes() const {
    return std::size_t{2} * num_layers * block_size * num_kv_heads * kv_row_bytes(head_dim, dtype);
  }
};

/// Keys and values of every layer in blocks of block_size tokens; addressed through block tables.
class KvCache {
 public:
  virtual ~KvCache() = default;
  [[nodiscard]] virtual const KvCacheShape& shape() const = 0;
};

/// Memory of the host for blocks of one cache, taken at once when it is made. Copies are made in
/// the order in which they are asked for, behind steps begun before and in front of those begun
/// after: nobody has to wait for one.
class KvSwapSpace {
 public:
  virtual ~KvSwapSpace() = default;
  [[nodiscard]] virtual std::size_t size_bytes() const = 0;
  /// Blocks of the cache to the host. No two have a slot in common.
  virtual void copy_out(std::span<const BlockCopy> copies) = 0;
  /// And back. No two have a block in common.
  virtual void copy_in(std::span<const BlockCopy> copies) = 0;
};

/// The tokens that one sequence contributes to a step.
struct SequenceSlice {
  int first_token;     // index in the step's tokens
  int num_tokens;      // q_len
  int first_position;  // position of the first of them; also the keys already cached
  std::span<const BlockId> block_table;  // covers first_position + num_tokens positions
};

/// Stands for a token that isn't known yet: the one that the step before chose for its row `row` of
/// logits.
constexpr std::int32_t placeholder_token(int row) { return -1 - row; }

/// One step's input. Views; valid until run_step() returns.
struct StepInput {
  std::span<const std::int32_t> token_ids;  // [T]; placeholders on devices that run ahead
  std::span<const std::int32_t> positions;  // [T]
  std::span<const SequenceSlice> sequences;
  std::span<const std::int32_t>
      logit_tokens;  // [L] indices of the tokens whose logits are wanted, ascending
  std::span<const TokenChoice> choices;  // [L], or empty: the largest logit of each row

  [[nodiscard]] int num_tokens() const { return static_cast<int>(token_ids.size()); }
};

/// Steps that will come.
struct StepLimits {
  int num_sequences = 0;
  int num_tokens = 0;     // of all, their drafts included
  int num_positions = 0;  // of a sequence
};

/// Scratch memory of a step, reused from step to step.
class Activations {
 public:
  virtual ~Activations() = default;
  /// Bytes reserved on the device.
  [[nodiscard]] virtual std::size_t size_bytes() const = 0;
};

/// Sees what matrices are multiplied with, for calibration.
class LinearInputObserver {
 public:
  virtual ~LinearInputObserver() = default;
  /// row: f32 [K], a token's left operand of `matrix`; valid during the call. Tokens come in order.
  virtual void observe(const WeightMatrix& matrix, std::span<const float> row) = 0;
};

/// One device. Calls come from one thread at a time; a step's calls run in order.
class Backend {
 public:
  virtual ~Backend() = default;

  [[nodiscard]] virtual std::string name() const = 0;  // "cpu (avx512-bf16, 2 threads)"

  // Memory. Each throws ResourceError when the device has not enough.
  virtual MatrixPtr pack(const StackedMatrix& matrix) = 0;
  /// Parts are stacked like those of the matrix that the vector goes with.
  virtual VectorPtr upload(const StackedMatrix& vector) = 0;
  virtual std::unique_ptr<KvCache> make_kv_cache(const KvCacheShape& shape) = 0;
  virtual std::unique_ptr<Activations> make_activations(const TransformerShape& shape,
                                                        int max_tokens, int max_logit_tokens) = 0;

  /// Room for `num_slots` blocks of `cache`, which outlives it. Null on a device whose memory is
  /// the host's: there is nothing to be gained there.
  virtual std::unique_ptr<KvSwapSpace> make_swap_space(KvCache& cache, int num_slots) {
    static_cast<void>(cache), static_cast<void>(num_slots);
    return nullptr;
  }

  /// Shows `observer` the left operands of matrices that are not quantized, until called with null.
  virtual void observe_linear_inputs(LinearInputObserver* observer) = 0;

  /// A step: runs `operations`, which calls those below, in their order, for `input`. `model` tells
  /// one model's weights from another's. A device may keep what a step did and repeat it for a step
  /// of the same form, model, cache and activations instead of calling `operations` again. When it
  /// returns, the step is over - or, on a device that runs ahead, under way behind the one before.
  virtual void run_step(Activations& activations, const StepInput& input, const void* model,
                        const KvCache& cache, const std::function<void()>& operations) {
    static_cast<void>(activations), static_cast<void>(input), static_cast<void>(model),
        static_cast<void>(cache);
    operations();
  }

  /// Does ahead what a device does when a step of a new form comes, for steps within `limits` in
  /// which no sequence has more tokens than a decode with its drafts and no token is drawn: as many
  /// of these forms as are worth their time. Computes nothing; `operations` as above.
  virtual void prepare_steps(Activations& activations, const StepLimits& limits, const void* model,
                             const KvCache& cache, const std::function<void()>& operations) {
    static_cast<void>(activations), static_cast<void>(limits), static_cast<void>(model),
        static_cast<void>(cache), static_cast<void>(operations);
  }

  /// True when steps choose tokens as StepInput::choices says, not by the largest logit alone.
  [[nodiscard]] virtual bool samples() const { return false; }
  /// True when a step may be run while the one before is under way, two at most of the same
  /// activations.
  [[nodiscard]] virtual bool runs_ahead() const { return false; }
  /// False when the step run last had a form that the device has to prepare for first: it takes
  /// longer than others of its form will.
  [[nodiscard]] virtual bool ran_prepared() const { return true; }
  /// Waits for the oldest step under way, whose results can be read then. Throws when it failed.
  virtual void finish_step(Activations& activations) { static_cast<void>(activations); }

  // The forward pass, in this order, within run_step().
  /// hidden = table[token_ids]
  virtual void embed(Activations& activations, const StepInput& input,
                     const WeightMatrix& table) = 0;
  /// q, k, v = RMSNorm(hidden) Wqkv^T (+ bias) (+ q/k norm), RoPE on q and k; k and v go to the
  /// cache.
  virtual void project_qkv(Activations& activations, const StepInput& input,
                           const LayerWeights& weights, KvCache& cache, int layer) = 0;
  /// Causal attention of q over the cache; with `window` w, a token sees itself and the w - 1
  /// before it.
  virtual void attend(Activations& activations, const StepInput& input, const KvCache& cache,
                      int layer, std::optional<int> window) = 0;
  /// hidden += attention Wo^T (+ bias)
  virtual void project_output(Activations& activations, const StepInput& input,
                              const LayerWeights& weights) = 0;
  /// hidden += (silu(x Wgate^T) * (x Wup^T)) Wdown^T with x = RMSNorm(hidden)
  virtual void feed_forward(Activations& activations, const StepInput& input,
                            const LayerWeights& weights) = 0;
  /// logits = RMSNorm(hidden[logit_tokens]) Whead^T
  virtual void project_logits(Activations& activations, const StepInput& input,
                              const WeightVector& final_norm, const WeightMatrix& head) = 0;

  // Results of the step that was finished last, until the next is finished.
  /// f32 [V] of logit row `row`; the caller may overwrite it. Only while no other step is under
  /// way, and not where the device drew the token.
  virtual std::span<float> logits(Activations& activations, int row) = 0;
  /// The token chosen for the row: that of its TokenChoice where the device samples, else the index
  /// of the largest logit, the lowest among equals. kNoToken where a logit is NaN or
  /// all are minus infinity.
  virtual std::int32_t chosen_token(Activations& activations, int row) = 0;
};

}  // namespace iol
