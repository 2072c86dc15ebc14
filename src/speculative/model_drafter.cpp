#include "speculative/model_drafter.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "model/transformer.h"
#include "sampler/logit_processing.h"

namespace iol {
namespace {

// Of a sequence in a pass: its last token and, where all of its drafts were right, the one before.
constexpr int kPreparedTokens = 2;

BlockTablesConfig tables_config(const ModelDrafterConfig& config) {
  BlockTablesConfig tables;
  tables.num_blocks = config.num_blocks;
  tables.block_size = config.block_size;
  tables.prefix_cache = config.prefix_cache;
  return tables;
}

}  // namespace

struct ModelDrafter::Shadow {
  // Its tokens end with guesses; its num_computed_tokens counts known ones. Positions, and what it
  // says of prompt and output, are counted from `first`.
  Sequence sequence;
  int first = 0;  // of the target's tokens, the first that the draft model knows
  SamplerState sampler;
  int num_known = 0;    // tokens that are the target's
  int num_written = 0;  // positions whose keys and values are in the cache, guesses included
  std::uint64_t last_call = 0;
};

ModelDrafter::ModelDrafter(DraftModel model, Backend& backend, const ModelDrafterConfig& config)
    : model_(std::move(model)),
      backend_(backend),
      config_(config),
      cache_(backend.make_kv_cache(
          kv_cache_shape(model_.config, config.num_blocks, config.block_size, model_.kv_dtype))),
      activations_(backend.make_activations(transformer_shape(model_.config),
                                            config.max_step_tokens,
                                            std::min(config.max_batch, config.max_step_tokens))),
      blocks_(tables_config(config)),
      sampler_(model_.config.eos_token_ids) {
  warm_up();
  prepare_forward(model_.config, model_.weights, backend_, *activations_, *cache_,
                  {config.max_batch, kPreparedTokens * config.max_batch,
                   config.num_blocks * config.block_size});
}

ModelDrafter::~ModelDrafter() = default;

/// A pass over a few tokens, of which nothing stays: the first one touches memory that the system
/// has not really given yet, which took up to 80 ms where later ones take one. No request should
/// pay for that with a draft.
void ModelDrafter::warm_up() {
  const int num_tokens =
      std::min({kLatestTokens, config_.max_step_tokens, config_.num_blocks * config_.block_size});
  const auto count = static_cast<std::size_t>(num_tokens);
  const std::vector<std::int32_t> token_ids(count, 0);
  std::vector<std::int32_t> positions(count);
  std::iota(positions.begin(), positions.end(), 0);
  std::vector<BlockId> blocks(static_cast<std::size_t>(config_.num_blocks));
  std::iota(blocks.begin(), blocks.end(), 0);
  const std::vector<SequenceSlice> slices = {{0, num_tokens, 0, blocks}};
  const std::vector<std::int32_t> logit_tokens = {num_tokens - 1};
  const std::vector<TokenChoice> choices(1);
  iol::forward(model_.config, model_.weights, backend_, *activations_, *cache_,
               {token_ids, positions, slices, logit_tokens, choices});
}

std::int64_t ModelDrafter::kv_cache_bytes() const {
  return static_cast<std::int64_t>(cache_->shape().block_bytes()) * cache_->shape().num_blocks;
}

std::int64_t ModelDrafter::activations_bytes() const {
  return static_cast<std::int64_t>(activations_->size_bytes());
}

int ModelDrafter::num_missing(const Sequence& sequence, bool from_latest) const {
  const auto found = shadows_.find(sequence.id);
  const int num_written =
      found == shadows_.end() ? 0 : found->second->first + found->second->num_written;
  // At least the latest token, which no guess can have brought in.
  const int num_missing = std::max(1, sequence.num_tokens() - num_written);
  // Penalties count tokens from the first on.
  const bool may_skip = from_latest && !has_penalty(sequence.sampling);
  return may_skip ? std::min(num_missing, kLatestTokens) : num_missing;
}

void ModelDrafter::forget(RequestId request) {
  const auto found = shadows_.find(request);
  if (found == shadows_.end()) return;
  blocks_.release(found->second->sequence);
  shadows_.erase(found);
}

ModelDrafter::Shadow& ModelDrafter::shadow_of(const Sequence& sequence) {
  auto& shadow = shadows_[sequence.id];
  if (!shadow) {
    shadow = std::make_unique<Shadow>();
    shadow->sequence.id = sequence.id;
    shadow->sequence.sampling = sequence.sampling;
    shadow->sequence.sampling.num_logprobs.reset();
    shadow->sequence.seed = sequence.seed;
    shadow->sequence.has_own_seed = sequence.has_own_seed;
    shadow->sequence.num_prompt_tokens = sequence.num_prompt_tokens;
  }
  shadow->last_call = num_calls_;
  return *shadow;
}

void ModelDrafter::begin_from_latest(Shadow& shadow, const Sequence& sequence) {
  Sequence& own = shadow.sequence;
  blocks_.release(own);
  shadow.first = sequence.num_tokens() - kLatestTokens;
  shadow.num_known = 0;
  shadow.num_written = 0;
  own.tokens.clear();
  own.num_prompt_tokens = sequence.num_prompt_tokens - shadow.first;
}

void ModelDrafter::catch_up(Shadow& shadow, const Sequence& sequence) {
  Sequence& own = shadow.sequence;
  const auto tokens = std::span(sequence.tokens).subspan(static_cast<std::size_t>(shadow.first));
  std::size_t num_common = static_cast<std::size_t>(shadow.num_known);
  while (num_common < std::min(own.tokens.size(), tokens.size()) &&
         own.tokens[num_common] == tokens[num_common]) {
    ++num_common;
  }
  if (num_common < own.tokens.size() && has_penalty(own.sampling)) shadow.sampler = {};
  own.tokens.resize(num_common);
  own.tokens.insert(own.tokens.end(), tokens.begin() + static_cast<std::ptrdiff_t>(num_common),
                    tokens.end());
  shadow.num_known = own.num_tokens();
  // The last token is computed once more where nothing came after it: its logits are wanted.
  shadow.num_written =
      std::min({shadow.num_written, static_cast<int>(num_common), own.num_tokens() - 1});
  if (shadow.num_written > own.num_computed_tokens) {
    blocks_.advance(own, shadow.num_written - own.num_computed_tokens);
  }
}

bool ModelDrafter::reserve(Shadow& shadow, int num_positions) {
  Sequence& own = shadow.sequence;
  while (true) {
    if (own.block_table.empty()) {
      if (blocks_.admit(own, num_positions, num_positions)) {
        shadow.num_written = own.num_computed_tokens;
        return true;
      }
    } else if (blocks_.extend(own, num_positions)) {
      return true;
    }
    if (!evict_idle()) return false;
  }
}

bool ModelDrafter::evict_idle() {
  Shadow* oldest = nullptr;
  for (const auto& [request, shadow] : shadows_) {
    if (shadow->last_call == num_calls_ || shadow->sequence.block_table.empty()) continue;
    if (oldest == nullptr || shadow->last_call < oldest->last_call) oldest = shadow.get();
  }
  if (oldest == nullptr) return false;
  blocks_.release(oldest->sequence);
  oldest->num_written = 0;
  return true;
}

void ModelDrafter::propose(std::span<Draft* const> drafts) {
  ++num_calls_;
  passes_.clear();
  found_bad_logits_ = false;
  plan(drafts);
  std::optional<PassUnderWay> under_way;
  while (!work_.empty() && !found_bad_logits_) {
    PassUnderWay next = begin();
    if (under_way) finish(*under_way);
    under_way.reset();
    if (backend_.runs_ahead() && std::ranges::all_of(next.guesses, &Guess::is_chosen)) {
      under_way = std::move(next);
    } else {
      finish(next);
    }
  }
  if (under_way) finish(*under_way);
  if (found_bad_logits_) throw_bad_logits();
}

void ModelDrafter::plan(std::span<Draft* const> drafts) {
  work_.clear();
  for (Draft* draft : drafts) {
    Shadow& shadow = shadow_of(*draft->sequence);
    if (draft->from_latest &&
        num_missing(*draft->sequence, true) < num_missing(*draft->sequence, false)) {
      begin_from_latest(shadow, *draft->sequence);
    }
    catch_up(shadow, *draft->sequence);
    work_.push_back({draft, &shadow, 0, false});
  }
  // Whoever misses least comes first: a long prompt must not keep others from their guesses.
  std::ranges::stable_sort(work_, {}, [](const Work& work) {
    return work.shadow->sequence.num_tokens() - work.shadow->num_written;
  });
  int budget = config_.max_step_tokens;
  std::erase_if(work_, [&](Work& work) {
    Shadow& shadow = *work.shadow;
    const int num_tokens = shadow.sequence.num_tokens();
    if (!reserve(shadow, num_tokens + work.draft->max_tokens - 1)) return true;
    const int num_missing = num_tokens - shadow.num_written;
    work.num_tokens = std::min(num_missing, budget);
    work.is_whole = work.num_tokens == num_missing;
    budget -= work.num_tokens;
    return work.num_tokens == 0;
  });
}

bool ModelDrafter::is_chosen(const Sequence& own) const {
  if (!backend_.samples()) return !needs_logits(own);
  const bool is_drawn_freely = draws_tokens(own.sampling) && !own.has_own_seed;
  return !is_drawn_freely && token_choice(own).has_value();
}

void ModelDrafter::forward() {
  token_ids_.clear();
  positions_.clear();
  slices_.clear();
  logit_tokens_.clear();
  choices_.clear();
  for (const Work& work : work_) {
    const Shadow& shadow = *work.shadow;
    const Sequence& own = shadow.sequence;
    const int first = shadow.num_written;
    slices_.push_back(
        {static_cast<int>(token_ids_.size()), work.num_tokens, first, own.block_table});
    for (int position = first; position < first + work.num_tokens; ++position) {
      token_ids_.push_back(own.tokens[static_cast<std::size_t>(position)]);
      positions_.push_back(position);
    }
    if (!work.is_whole) continue;
    logit_tokens_.push_back(static_cast<std::int32_t>(token_ids_.size()) - 1);
    choices_.push_back(is_chosen(own) ? token_choice(own).value() : TokenChoice());
  }
  const StepInput input = {token_ids_, positions_, slices_, logit_tokens_, choices_};
  begin_forward(model_.config, model_.weights, backend_, *activations_, *cache_, input);
}

ModelDrafter::PassUnderWay ModelDrafter::begin() {
  PassUnderWay pass;
  pass.begin_ns = now_ns();
  forward();
  pass.num_rows = static_cast<int>(token_ids_.size());
  pass.ran_prepared = backend_.ran_prepared();
  std::erase_if(work_, [&](Work& work) {
    Shadow& shadow = *work.shadow;
    Sequence& own = shadow.sequence;
    shadow.num_written += work.num_tokens;
    // Only tokens of the target count for others; guesses may be wrong.
    const int num_certain = std::min(shadow.num_written, shadow.num_known);
    if (num_certain > own.num_computed_tokens) {
      blocks_.advance(own, num_certain - own.num_computed_tokens);
    }
    if (!work.is_whole) return true;
    auto& tokens = work.draft->tokens;
    const std::int32_t placeholder = placeholder_token(static_cast<int>(pass.guesses.size()));
    pass.guesses.push_back({work.draft, &shadow, tokens.size(), is_chosen(own)});
    own.tokens.push_back(placeholder);
    tokens.push_back(placeholder);
    work.num_tokens = 1;
    return static_cast<int>(tokens.size()) >= work.draft->max_tokens;
  });
  return pass;
}

void ModelDrafter::finish(const PassUnderWay& pass) {
  backend_.finish_step(*activations_);
  for (std::size_t row = 0; row < pass.guesses.size(); ++row) {
    const Guess& guess = pass.guesses[row];
    const std::int32_t token = choose(guess, static_cast<int>(row));
    found_bad_logits_ = found_bad_logits_ || token == kNoToken;
    const auto position = static_cast<std::size_t>(guess.shadow->num_known) + guess.index;
    guess.shadow->sequence.tokens[position] = token;
    guess.draft->tokens[guess.index] = token;
  }
  const std::int64_t end_ns = now_ns();
  passes_.push_back(
      {pass.num_rows, end_ns - std::max(pass.begin_ns, pass_end_ns_), pass.ran_prepared});
  pass_end_ns_ = end_ns;
}

std::int32_t ModelDrafter::choose(const Guess& guess, int row) {
  if (guess.is_chosen) return backend_.chosen_token(*activations_, row);
  Shadow& shadow = *guess.shadow;
  Sequence& own = shadow.sequence;
  const std::int32_t placeholder = own.tokens.back();
  own.tokens.pop_back();
  const std::span<float> logits = backend_.logits(*activations_, row);
  std::int32_t token = 0;
  if (own.has_own_seed || !draws_tokens(own.sampling)) {
    token = sampler_.sample(logits, own, shadow.sampler).token;
  } else {
    TokenDistribution& drawn_from = guess.draft->distributions.emplace_back();
    sampler_.distribution(logits, own, shadow.sampler, drawn_from);
    token = drawn_from.draw(random_uniform(own.seed, kDraftStream,
                                           static_cast<std::uint64_t>(own.num_output_tokens())));
  }
  own.tokens.push_back(placeholder);
  return token;
}

}  // namespace iol
