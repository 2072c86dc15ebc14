#pragma once
#include <memory>
#include <unordered_map>
#include <vector>

#include "backend/backend.h"
#include "kv_cache/block_tables.h"
#include "model/config.h"
#include "model/weights.h"
#include "sampler/sampler.h"
#include "speculative/drafter.h"

namespace iol {

/// A smaller model of the same vocabulary, loaded onto the backend of the model it drafts for.
struct DraftModel {
  std::string name;  // as asked for
  ModelConfig config;
  ModelWeights weights;
  DType kv_dtype = DType::kBF16;
  Quantization quant;  // as the weights are
};

struct ModelDrafterConfig {
  int num_blocks = 0;  // of its KV cache
  int block_size = 16;
  bool prefix_cache = true;
  int max_step_tokens = 512;  // tokens of a forward pass
  int max_batch = 64;         // sequences of one
};

/// Guesses with a draft model. It keeps a shadow of each sequence: the tokens that its own KV cache
/// has seen, guesses included. What the target accepted of them is kept, the rest is overwritten.
///
/// A request that takes the most likely token gets the draft's most likely ones. One that draws
/// gets tokens drawn from the draft's distribution after the request's own temperature, truncation
/// and penalties, with a random stream of their own; but a request with a seed of its own, whose
/// tokens speculation must not change, gets what the request's next random numbers would draw from
/// the draft.
///
/// On a device that runs ahead a pass begins from the placeholders of the one before: no guess
/// waits for the host. Guesses that the host has to choose from logits do: drawn ones without a
/// seed, penalties, biases.
///
/// A sequence of which much is missing may be begun anew with its latest tokens alone, as if
/// nothing came before them (Draft::from_latest): what that costs is bounded, whatever the context.
/// It goes on from there.
///
/// A sequence whose tokens were not all computed yet gets max_step_tokens of them computed per
/// call, shared with others, and guesses once none is missing. Blocks are taken from sequences that
/// were not asked for; with none left a sequence gets no guesses.
class ModelDrafter final : public Drafter {
 public:
  /// `backend` outlives the drafter. Throws ResourceError when its memory can't be had.
  ModelDrafter(DraftModel model, Backend& backend, const ModelDrafterConfig& config);
  ~ModelDrafter() override;

  void propose(std::span<Draft* const> drafts) override;
  [[nodiscard]] int num_missing(const Sequence& sequence, bool from_latest) const override;
  void forget(RequestId request) override;
  void clear_prefixes() override { blocks_.clear_prefixes(); }

  /// Of a sequence that is begun anew.
  static constexpr int kLatestTokens = 64;

  /// A forward pass, with the choice of its tokens.
  struct Pass {
    int num_rows;
    std::int64_t duration_ns;
    bool ran_prepared;  // see Backend::ran_prepared
  };
  /// Those of the last call of propose().
  [[nodiscard]] const std::vector<Pass>& passes() const { return passes_; }

  [[nodiscard]] const DraftModel& model() const { return model_; }
  [[nodiscard]] std::int64_t kv_cache_bytes() const;
  [[nodiscard]] std::int64_t activations_bytes() const;
  [[nodiscard]] int num_blocks_used() const { return blocks_.num_blocks_used(); }

 private:
  struct Shadow;
  /// One sequence's part of a forward pass.
  struct Work {
    Draft* draft;
    Shadow* shadow;
    int num_tokens;
    bool is_whole;  // its last token is the shadow's last: a guess follows
  };

  /// A token that a forward pass adds to a sequence.
  struct Guess {
    Draft* draft;
    Shadow* shadow;
    std::size_t index;  // in the draft's tokens
    bool is_chosen;     // by the backend
  };
  struct PassUnderWay {
    std::vector<Guess> guesses;  // by row of logits
    int num_rows = 0;
    bool ran_prepared = true;
    std::int64_t begin_ns = 0;
  };

  void warm_up();
  void plan(std::span<Draft* const> drafts);
  Shadow& shadow_of(const Sequence& sequence);
  void begin_from_latest(Shadow& shadow, const Sequence& sequence);
  /// Takes over what the target's tokens have become.
  void catch_up(Shadow& shadow, const Sequence& sequence);
  /// Blocks for `num_positions`, at the cost of sequences that take no part in this call.
  bool reserve(Shadow& shadow, int num_positions);
  bool evict_idle();
  /// True when the backend chooses what the sequence is guessed to go on with.
  [[nodiscard]] bool is_chosen(const Sequence& own) const;
  void forward();
  /// Begins a pass over `work_`, in which those that want more stay.
  PassUnderWay begin();
  /// Waits for a pass and puts its guesses in the place of their placeholders.
  void finish(const PassUnderWay& pass);
  std::int32_t choose(const Guess& guess, int row);

  DraftModel model_;
  Backend& backend_;
  ModelDrafterConfig config_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Activations> activations_;
  BlockTables blocks_;
  Sampler sampler_;
  std::unordered_map<RequestId, std::unique_ptr<Shadow>> shadows_;
  std::uint64_t num_calls_ = 0;
  // Scratch of a call.
  std::vector<Work> work_;
  std::vector<Pass> passes_;
  std::vector<std::int32_t> token_ids_;
  std::vector<std::int32_t> positions_;
  std::vector<SequenceSlice> slices_;
  std::vector<std::int32_t> logit_tokens_;
  std::vector<TokenChoice> choices_;
  std::int64_t pass_end_ns_ = 0;
  bool found_bad_logits_ = false;
};

}  // namespace iol
