// The drafter's shadow of each sequence against an engine that runs the draft model itself.
#include "speculative/model_drafter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/random.h"
#include "engine/engine.h"
#include "engine/loaded_model.h"
#include "tests/engine/ahead_backend.h"

namespace iol {
namespace {

using Tokens = std::vector<std::int32_t>;

constexpr int kVocabSize = 8192;

EngineConfig draft_config() {
  EngineConfig config;
  config.model = std::string(IOL_SOURCE_DIR) + "/models/books-2m";
  config.device = {DeviceKind::kCpu, 0};
  config.num_threads = 1;
  config.kv_cache_tokens = 2048;
  config.max_context = 512;
  return config;
}

class ModelDrafterTest : public ::testing::Test {
 protected:
  void make(const ModelDrafterConfig& config) { make_on(load_model(draft_config()), config); }

  /// On a device that runs ahead and draws tokens.
  test::AheadBackend& make_ahead(const ModelDrafterConfig& config) {
    LoadedModel loaded = load_model(draft_config());
    auto ahead = std::make_unique<test::AheadBackend>(std::move(loaded.backend), true);
    test::AheadBackend& backend = *ahead;
    loaded.backend = std::move(ahead);
    make_on(std::move(loaded), config);
    return backend;
  }

  void make_on(LoadedModel loaded, const ModelDrafterConfig& config) {
    drafter_.reset();
    backend_ = std::move(loaded.backend);
    drafter_ = std::make_unique<ModelDrafter>(
        DraftModel{"draft", loaded.config, std::move(loaded.weights), loaded.kv_dtype, {}},
        *backend_, config);
  }

  Sequence& add(RequestId id, std::size_t num_tokens) {
    Sequence& sequence = sequences_[id];
    sequence.id = id;
    for (std::size_t i = 0; i < num_tokens; ++i) sequence.tokens.push_back(random_token());
    sequence.num_prompt_tokens = sequence.num_tokens();
    sequence.sampling.max_tokens = 100;
    return sequence;
  }

  std::int32_t random_token() { return static_cast<std::int32_t>(random_.below(kVocabSize)); }

  std::map<RequestId, Tokens> propose(const std::vector<std::pair<RequestId, int>>& asked,
                                      bool from_latest = false) {
    std::vector<Draft> drafts(asked.size());
    std::vector<Draft*> pointers;
    for (std::size_t i = 0; i < asked.size(); ++i) {
      drafts[i].sequence = &sequences_.at(asked[i].first);
      drafts[i].max_tokens = asked[i].second;
      drafts[i].from_latest = from_latest;
      pointers.push_back(&drafts[i]);
    }
    drafter_->propose(pointers);
    std::map<RequestId, Tokens> answers;
    for (std::size_t i = 0; i < asked.size(); ++i) answers[asked[i].first] = drafts[i].tokens;
    return answers;
  }

  /// What the draft model itself would say next.
  Tokens continuation(const Sequence& sequence, int num_tokens) {
    static const auto engine = Engine::create(draft_config());
    Request request;
    request.prompt_tokens = sequence.tokens;
    request.sampling.max_tokens = num_tokens;
    request.sampling.ignore_eos = true;
    Tokens tokens;
    engine->submit(std::move(request), [&](const TokenEvent& event) {
      if (event.token) tokens.push_back(*event.token);
    });
    engine->drain();
    return tokens;
  }

  void expect_the_models_own_guesses() {
    for (RequestId id = 0; id < 5; ++id) add(id, 5 + 7 * id);
    sequences_[4].tokens = sequences_[3].tokens;  // a prefix that others have
    sequences_[4].num_prompt_tokens = sequences_[4].num_tokens();
    int num_right = 0;
    for (int round = 0; round < 25; ++round) {
      std::vector<std::pair<RequestId, int>> asked;
      for (auto& [id, sequence] : sequences_) {
        if (random_.below(4) != 0) asked.emplace_back(id, 1 + static_cast<int>(random_.below(5)));
      }
      if (asked.empty()) continue;
      const auto answers = propose(asked);
      for (const auto& [id, num_wanted] : asked) {
        Sequence& sequence = sequences_.at(id);
        const Tokens& answer = answers.at(id);
        ASSERT_EQ(answer, continuation(sequence, num_wanted)) << "round " << round << ", " << id;
        ++num_right;
        // The target accepts some of them and then says something else, or the next one.
        const auto num_accepted = random_.below(answer.size() + 1);
        sequence.tokens.insert(sequence.tokens.end(), answer.begin(),
                               answer.begin() + static_cast<std::ptrdiff_t>(num_accepted));
        sequence.tokens.push_back(random_token());
      }
      // And goes on without the drafter now and then.
      for (auto& [id, sequence] : sequences_) {
        if (random_.below(5) == 0) sequence.tokens.push_back(random_token());
      }
    }
    EXPECT_GT(num_right, 60);
  }

  RandomStream random_{4};
  std::map<RequestId, Sequence> sequences_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<ModelDrafter> drafter_;
};

constexpr ModelDrafterConfig kRoomy = {.num_blocks = 64,
                                       .block_size = 16,
                                       .prefix_cache = true,
                                       .max_step_tokens = 256,
                                       .max_batch = 8};

TEST_F(ModelDrafterTest, guesses_as_the_model_would_whatever_became_of_its_guesses) {
  make(kRoomy);
  expect_the_models_own_guesses();
}

TEST_F(ModelDrafterTest, guesses_the_same_on_a_device_that_runs_ahead) {
  const test::AheadBackend& backend = make_ahead(kRoomy);
  expect_the_models_own_guesses();
  EXPECT_GT(backend.num_placeholders, 60);
}

TEST_F(ModelDrafterTest, a_request_with_a_seed_gets_the_same_guesses_from_a_device_that_draws) {
  Sequence& sequence = add(1, 20);
  sequence.sampling.temperature = 0.9;
  sequence.sampling.top_p = 0.9;
  sequence.has_own_seed = true;
  sequence.seed = 5;
  make(kRoomy);
  const Tokens expected = propose({{1, 8}}).at(1);
  ASSERT_EQ(expected.size(), 8U);
  const test::AheadBackend& backend = make_ahead(kRoomy);
  EXPECT_EQ(propose({{1, 8}}).at(1), expected);
  EXPECT_EQ(backend.num_placeholders, 7);
}

TEST_F(ModelDrafterTest, asked_twice_it_says_the_same) {
  make({.num_blocks = 16,
        .block_size = 16,
        .prefix_cache = true,
        .max_step_tokens = 64,
        .max_batch = 8});
  add(1, 32);  // whole blocks: the last token's is an entry of the index
  const Tokens first = propose({{1, 4}}).at(1);
  EXPECT_EQ(first.size(), 4U);
  EXPECT_EQ(propose({{1, 4}}).at(1), first);
}

TEST_F(ModelDrafterTest, a_long_prompt_is_computed_over_several_calls) {
  make({.num_blocks = 32,
        .block_size = 16,
        .prefix_cache = false,
        .max_step_tokens = 40,
        .max_batch = 8});
  Sequence& sequence = add(1, 100);
  add(2, 3);
  EXPECT_EQ(drafter_->num_missing(sequence, false), 100);
  auto answers = propose({{1, 2}, {2, 2}});  // the short one isn't kept waiting
  EXPECT_TRUE(answers.at(1).empty());
  EXPECT_EQ(answers.at(2), continuation(sequences_[2], 2));
  EXPECT_EQ(drafter_->num_missing(sequence, false), 63);
  EXPECT_TRUE(propose({{1, 2}}).at(1).empty());
  EXPECT_EQ(propose({{1, 2}}).at(1), continuation(sequence, 2));
}

TEST_F(ModelDrafterTest, a_sequence_of_which_much_is_missing_goes_by_its_latest_tokens) {
  make(kRoomy);
  constexpr auto kLatest = static_cast<std::size_t>(ModelDrafter::kLatestTokens);
  Sequence& sequence = add(1, 100);
  sequence.num_prompt_tokens = 20;  // the rest is output: its beginning is left out too
  EXPECT_EQ(drafter_->num_missing(sequence, true), kLatest);
  Sequence latest = sequence;
  latest.tokens.erase(latest.tokens.begin(), latest.tokens.end() - kLatest);
  EXPECT_EQ(propose({{1, 4}}, true).at(1), continuation(latest, 4));
  EXPECT_EQ(drafter_->num_blocks_used(), 5);  // of 64 tokens and three guesses, not of 100
  EXPECT_EQ(drafter_->num_missing(sequence, false), 1);
  // It goes on from there, whatever is accepted, until it has fallen behind again.
  for (const std::size_t num_accepted : {2U, 0U, 4U}) {
    const Tokens answer = propose({{1, 4}}, num_accepted == 0).at(1);
    ASSERT_EQ(answer, continuation(latest, 4));
    for (Sequence* grown : {&sequence, &latest}) {
      grown->tokens.insert(grown->tokens.end(), answer.begin(),
                           answer.begin() + static_cast<std::ptrdiff_t>(num_accepted));
      grown->tokens.push_back(7);
    }
  }
  for (int i = 0; i < 70; ++i) {
    sequence.tokens.push_back(random_token());
    latest.tokens.push_back(sequence.tokens.back());
  }
  EXPECT_EQ(propose({{1, 4}}).at(1), continuation(latest, 4));
  for (int i = 0; i < 70; ++i) sequence.tokens.push_back(random_token());
  latest.tokens.assign(sequence.tokens.end() - kLatest, sequence.tokens.end());
  EXPECT_EQ(propose({{1, 4}}, true).at(1), continuation(latest, 4));
  drafter_->forget(1);
  EXPECT_EQ(propose({{1, 4}}).at(1), continuation(sequence, 4));
  drafter_->forget(1);
  EXPECT_EQ(drafter_->num_blocks_used(), 0);
}

TEST_F(ModelDrafterTest, a_penalty_counts_all_tokens) {
  make(kRoomy);
  Sequence& sequence = add(1, 100);
  sequence.sampling.repetition_penalty = 1.3;
  EXPECT_EQ(drafter_->num_missing(sequence, true), 100);
  const Tokens whole = propose({{1, 4}}).at(1);
  drafter_->forget(1);
  EXPECT_EQ(propose({{1, 4}}, true).at(1), whole);
}

TEST_F(ModelDrafterTest, takes_blocks_from_those_who_are_not_asked) {
  make({.num_blocks = 4,
        .block_size = 16,
        .prefix_cache = false,
        .max_step_tokens = 64,
        .max_batch = 8});
  add(1, 40);
  add(2, 40);
  EXPECT_EQ(propose({{1, 2}}).at(1), continuation(sequences_[1], 2));
  EXPECT_EQ(propose({{2, 2}}).at(2), continuation(sequences_[2], 2));
  EXPECT_EQ(propose({{1, 2}}).at(1), continuation(sequences_[1], 2));
  // Together they don't fit: one gets no guesses.
  const auto answers = propose({{1, 2}, {2, 2}});
  EXPECT_EQ(answers.at(1).size() + answers.at(2).size(), 2U);
  drafter_->forget(1);
  drafter_->forget(2);
  EXPECT_EQ(drafter_->num_blocks_used(), 0);
}

TEST_F(ModelDrafterTest, draws_from_the_distribution_that_it_names) {
  make({.num_blocks = 16,
        .block_size = 16,
        .prefix_cache = true,
        .max_step_tokens = 64,
        .max_batch = 8});
  Sequence& sequence = add(1, 20);
  sequence.sampling.temperature = 1.0;
  sequence.sampling.top_k = 4;
  std::map<std::int32_t, int> drawn;
  TokenDistribution named;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    drafter_->forget(1);
    sequence.seed = seed;
    Draft draft;
    draft.sequence = &sequence;
    draft.max_tokens = 3;
    Draft* const asked[] = {&draft};
    drafter_->propose(asked);
    ASSERT_EQ(draft.tokens.size(), 3U);
    ASSERT_EQ(draft.distributions.size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) {
      ASSERT_GT(draft.distributions[i].probability(draft.tokens[i]), 0);
      ASSERT_EQ(draft.distributions[i].candidates.size(), 4U);
    }
    ++drawn[draft.tokens[0]];
    named = draft.distributions[0];
  }
  for (const auto& candidate : named.candidates) {
    const double expected = 300 * named.probability(candidate.token);
    EXPECT_NEAR(drawn[candidate.token], expected, 5 * std::sqrt(expected) + 1);
  }
  // With a seed of its own: no drawing, the request's own random numbers.
  sequence.has_own_seed = true;
  drafter_->forget(1);
  Draft draft;
  draft.sequence = &sequence;
  draft.max_tokens = 3;
  Draft* const asked[] = {&draft};
  drafter_->propose(asked);
  EXPECT_EQ(draft.tokens.size(), 3U);
  EXPECT_TRUE(draft.distributions.empty());
}

}  // namespace
}  // namespace iol
