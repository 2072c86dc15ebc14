// Speculation changes how fast tokens come and nothing else. That greedy and seeded requests get
// the same tokens and log-probabilities under random schedules is shown by invariance_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "base/error.h"
#include "engine/device_backend.h"
#include "engine/draft_model.h"
#include "engine/engine_loop.h"
#include "tests/engine/ahead_backend.h"
#include "tests/engine/collector.h"
#include "tests/engine/draft_folder.h"
#include "tests/sampler/chi_square.h"
#include "tokenizer/tokenizer.h"

namespace iol::test {
namespace {

using iol::testing::chi_square_bound;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr const char* kText =
    "The old man went down to the sea. The old man went down to the sea, and the old man";

EngineConfig small_config() {
  EngineConfig config;
  config.model = std::string(IOL_SOURCE_DIR) + "/models/books-2m";
  config.num_threads = 1;
  config.max_batch = 8;
  config.max_context = 512;
  config.kv_cache_tokens = 4096;
  return config;
}

/// The same weights in another folder: a draft that is always right.
const DraftFolder& perfect_draft() {
  static const DraftFolder folder(R"({"rope_parameters": {"rope_theta": 10000.0}})");
  return folder;
}

const DraftFolder& draft() {
  static const DraftFolder folder;
  return folder;
}

EngineConfig with_draft(const std::string& text, std::optional<int> depth) {
  EngineConfig config = small_config();
  config.speculation = parse_draft(text);
  config.speculation.depth = depth;
  if (!config.speculation.model.empty()) config.speculation.quant = WeightFormat::kNone;
  return config;
}

std::vector<Outcome> run(Engine& engine, const std::vector<Request>& requests) {
  Collector collector;
  for (std::size_t i = 0; i < requests.size(); ++i)
    engine.submit(requests[i], collector.listen(static_cast<int>(i)));
  engine.drain();
  std::vector<Outcome> outcomes;
  for (std::size_t i = 0; i < requests.size(); ++i)
    outcomes.push_back(collector.outcome(static_cast<int>(i)));
  return outcomes;
}

/// Requests that end in every way and use everything that looks at tokens one by one.
std::vector<Request> all_kinds_of_requests(const Engine& engine) {
  Request plain;
  plain.prompt_tokens = engine.tokenizer()->encode(kText);
  plain.sampling.max_tokens = 60;
  std::vector<Request> requests(9, plain);
  requests[1].sampling.max_tokens = 1;
  requests[2].sampling.max_tokens = 2;
  requests[3].sampling.stop = {"he ", "man w"};
  requests[4].sampling.stop_token_ids = {engine.tokenizer()->encode(" and", false).front()};
  requests[4].sampling.min_tokens = 7;
  requests[5].sampling.repetition_penalty = 1.3;
  requests[5].sampling.frequency_penalty = 0.5;
  requests[5].sampling.num_logprobs = 3;
  requests[6].sampling.logit_bias = {{engine.tokenizer()->encode(" the", false).front(), -5.0F}};
  requests[6].sampling.min_tokens = 20;
  requests[7].sampling.temperature = 0.9;
  requests[7].sampling.top_p = 0.9;
  requests[7].sampling.presence_penalty = 0.4;
  requests[7].sampling.num_logprobs = 2;
  requests[7].sampling.seed = 11;
  requests[8].sampling.max_tokens = 10000;  // the context ends it
  requests[8].sampling.ignore_eos = true;
  return requests;
}

TEST(Speculation, everything_but_the_speed_is_as_without) {
  const auto plain = Engine::create(small_config());
  const auto requests = all_kinds_of_requests(*plain);
  const auto expected = run(*plain, requests);
  EXPECT_EQ(expected[3].finish_reason, FinishReason::kStop);
  for (const std::string& who :
       {std::string("ngram"), draft().path(), perfect_draft().path(), "ngram," + draft().path()}) {
    for (const std::optional<int> depth :
         {std::optional<int>(), std::optional(1), std::optional(5), std::optional(16)}) {
      const auto engine = Engine::create(with_draft(who, depth));
      const auto outcomes = run(*engine, requests);
      for (std::size_t i = 0; i < requests.size(); ++i) {
        SCOPED_TRACE(::testing::Message() << who << ", depth " << depth.value_or(-1) << ", " << i);
        ASSERT_EQ(outcomes[i].tokens, expected[i].tokens);
        ASSERT_EQ(outcomes[i].text, expected[i].text);
        ASSERT_EQ(outcomes[i].finish_reason, expected[i].finish_reason);
        ASSERT_EQ(outcomes[i].num_ends, 1);
        ASSERT_TRUE(identical(outcomes[i], expected[i], expected[i].tokens.size()));
      }
      const EngineStats stats = engine->stats();
      EXPECT_EQ(stats.draft_error, "");
      EXPECT_EQ(stats.num_blocks_used, 0);
      EXPECT_LE(stats.num_accepted_draft_tokens, stats.num_draft_tokens);
      if (depth) {  // a draft as large as the model does not pay, and auto finds out
        EXPECT_GT(stats.num_accepted_draft_tokens, 0) << who;
        EXPECT_LT(stats.num_steps, plain->stats().num_steps) << who;
      }
    }
  }
}

TEST(Speculation, a_draft_that_is_always_right_is_always_accepted) {
  const auto engine = Engine::create(with_draft(perfect_draft().path(), 4));
  Request request;
  request.prompt_tokens = engine->tokenizer()->encode(kText);
  request.sampling.max_tokens = 101;
  request.sampling.ignore_eos = true;
  for (const double temperature : {0.0, 1.0}) {  // rejection sampling accepts it as well
    request.sampling.temperature = temperature;
    const EngineStats before = engine->stats();
    int num_drafted = 0;
    engine->submit(request, [&](const TokenEvent& event) { num_drafted += event.was_drafted; });
    engine->drain();
    const EngineStats after = engine->stats();
    // The prompt's token, then 4 accepted and one of the model's own a step.
    EXPECT_EQ(after.num_steps - before.num_steps, 1 + 20);
    EXPECT_EQ(after.num_draft_tokens - before.num_draft_tokens, 80);
    EXPECT_EQ(after.num_accepted_draft_tokens - before.num_accepted_draft_tokens, 80);
    EXPECT_EQ(num_drafted, 80);
  }
}

TEST(Speculation, depth_zero_drafts_nothing) {
  const auto engine = Engine::create(with_draft("ngram," + draft().path(), 0));
  Request request;
  request.prompt_tokens = engine->tokenizer()->encode(kText);
  run(*engine, {request});
  EXPECT_EQ(engine->stats().num_draft_tokens, 0);
  EXPECT_EQ(engine->stats().draft_ns, 0);
}

/// Tokens of many requests without a seed, by output position.
std::vector<std::map<std::int32_t, int>> sampled_tokens(Engine& engine, int num_requests,
                                                        int num_tokens) {
  std::vector<std::map<std::int32_t, int>> counts(static_cast<std::size_t>(num_tokens));
  Request request;
  request.prompt_tokens = engine.tokenizer()->encode("The old man and the");
  request.sampling.max_tokens = num_tokens;
  request.sampling.ignore_eos = true;
  request.sampling.temperature = 0.8;
  request.sampling.top_k = 40;
  request.sampling.repetition_penalty = 1.1;
  for (const Outcome& outcome :
       run(engine, std::vector<Request>(static_cast<std::size_t>(num_requests), request))) {
    for (std::size_t i = 0; i < outcome.tokens.size(); ++i) ++counts[i][outcome.tokens[i]];
  }
  return counts;
}

/// Of two samples of equal size; tokens seen seldom are taken together.
double two_sample_chi_square(const std::map<std::int32_t, int>& a,
                             const std::map<std::int32_t, int>& b, int& freedom) {
  std::map<std::int32_t, std::pair<int, int>> both;
  for (const auto& [token, count] : a) both[token].first = count;
  for (const auto& [token, count] : b) both[token].second = count;
  std::pair<int, int> rest;
  double sum = 0;
  freedom = 0;
  for (const auto& [token, counts] : both) {
    const auto [x, y] = counts;
    if (x + y < 20) {
      rest.first += x;
      rest.second += y;
      continue;
    }
    sum += double(x - y) * (x - y) / (x + y);
    ++freedom;
  }
  if (rest.first + rest.second > 0) {
    sum +=
        double(rest.first - rest.second) * (rest.first - rest.second) / (rest.first + rest.second);
  }
  return sum;
}

/// Of `demo`, drafted for by `demo-draft`: whole runs, not single draws.
TEST(Speculation, sampling_without_a_seed_keeps_its_distribution) {
#ifdef IOL_SANITIZED
  constexpr int kRequests = 450;
#else
  constexpr int kRequests = 1200;
#endif
  constexpr int kTokens = 3;
  EngineConfig config = small_config();
  config.model = std::string(IOL_SOURCE_DIR) + "/models/books-16m";
  config.max_batch = 64;
  config.seed = 1;
  const auto plain = sampled_tokens(*Engine::create(config), kRequests, kTokens);
  config.seed = 2;
  config.speculation.model = std::string(IOL_SOURCE_DIR) + "/models/books-2m";
  config.speculation.depth = 2;
  const auto engine = Engine::create(config);
  const auto speculative = sampled_tokens(*engine, kRequests, kTokens);
  const EngineStats stats = engine->stats();
  const auto num_rejected = stats.num_draft_tokens - stats.num_accepted_draft_tokens;
  EXPECT_GT(stats.num_accepted_draft_tokens, kRequests / 4);
  EXPECT_GT(num_rejected, kRequests / 4);
  for (std::size_t i = 0; i < kTokens; ++i) {
    int freedom = 0;
    const double value = two_sample_chi_square(plain[i], speculative[i], freedom);
    EXPECT_GE(freedom, 4);
    EXPECT_LT(value, chi_square_bound(freedom)) << "output position " << i;
    int other_freedom = 0;  // it would see another distribution
    const double other =
        two_sample_chi_square(plain[i], speculative[(i + 1) % kTokens], other_freedom);
    EXPECT_GT(other, chi_square_bound(other_freedom));
  }
}

TEST(Speculation, a_broken_draft_model_is_given_up_and_said_so) {
  const DraftFolder folder;
  const auto weights = std::filesystem::path(folder.path()) / "model.safetensors";
  const auto source = std::filesystem::canonical(weights);
  std::filesystem::remove(weights);
  std::filesystem::copy_file(source, weights);
  const auto size = static_cast<std::streamoff>(std::filesystem::file_size(weights));
  std::fstream file(weights, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(size / 2);
  const std::string nan(static_cast<std::size_t>(size - size / 2), '\xff');
  file.write(nan.data(), static_cast<std::streamsize>(nan.size()));
  file.close();
  const auto plain = Engine::create(small_config());
  const auto requests = all_kinds_of_requests(*plain);
  const auto expected = run(*plain, requests);
  const auto engine = Engine::create(with_draft(folder.path(), 3));
  const auto outcomes = run(*engine, requests);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(outcomes[i].tokens, expected[i].tokens);
  }
  EXPECT_THAT(engine->stats().draft_error, HasSubstr("NaN"));
  EXPECT_EQ(engine->stats().num_draft_tokens, 0);
  // Where the backend chooses guesses it sees that too.
  const auto another = Engine::create(with_draft(folder.path(), 3));
  Request greedy;
  greedy.prompt_tokens = requests[0].prompt_tokens;
  greedy.sampling.max_tokens = 20;
  run(*another, {greedy});
  EXPECT_THAT(another->stats().draft_error, HasSubstr("NaN"));
  EXPECT_EQ(another->stats().num_draft_tokens, 0);
}

TEST(Speculation, simulated_acceptance_is_what_was_asked_for) {
  for (const double rate : {0.0, 0.8, 1.0}) {
    EngineConfig config = with_draft(draft().path(), 1);
    config.speculation.simulated_acceptance = rate;
    const auto engine = Engine::create(config);
    Request request;
    request.prompt_tokens = engine->tokenizer()->encode(kText);
    request.sampling.max_tokens = 400;
    request.sampling.ignore_eos = true;
    ASSERT_EQ(run(*engine, {request})[0].tokens.size(), 400U);
    const EngineStats stats = engine->stats();
    EXPECT_NEAR(static_cast<double>(stats.num_accepted_draft_tokens) /
                    static_cast<double>(stats.num_draft_tokens),
                rate, 0.1);
  }
}

TEST(Speculation, records_say_what_each_step_drafted) {
  const auto engine = Engine::create(with_draft("ngram", 3));
  Request request;
  request.prompt_tokens = engine->tokenizer()->encode(kText);
  request.sampling.max_tokens = 40;
  std::int64_t num_drafts = 0;
  std::int64_t num_accepted = 0;
  engine->on_step([&](const StepRecord& step) {
    num_drafts += step.num_draft_tokens;
    num_accepted += step.num_accepted_draft_tokens;
    EXPECT_LE(step.num_draft_tokens, 3);
    EXPECT_GE(step.duration_ns, step.draft_ns + step.host_ns);
  });
  run(*engine, {request});
  const EngineStats stats = engine->stats();
  EXPECT_EQ(num_drafts, stats.num_draft_tokens);
  EXPECT_EQ(num_accepted, stats.num_accepted_draft_tokens);
  EXPECT_GT(num_drafts, 0);
}

TEST(Speculation, memory_of_the_draft_model_is_counted) {
  EXPECT_EQ(Engine::create(with_draft("ngram", 3))->memory().draft_model_bytes, 0);
  const auto engine = Engine::create(with_draft(draft().path(), 3));
  // As large as the model that it drafts for: the same shape.
  EXPECT_GE(engine->memory().draft_model_bytes,
            engine->memory().weights_bytes + engine->memory().kv_cache_bytes);
}

std::string refusal(const EngineConfig& config) {
  try {
    Engine::create(config);
  } catch (const Error& error) {
    return error.what();
  }
  return "not refused";
}

TEST(Speculation, refuses_drafts_that_cannot_draft_for_the_model) {
  const DraftFolder shorter(R"({"max_position_embeddings": 256})");
  EXPECT_THAT(refusal(with_draft(shorter.path(), 3)),
              HasSubstr("was made for 256 positions, and sequences may have 512"));
  const DraftFolder vocabulary(R"({"vocab_size": 8000})");
  EXPECT_THAT(refusal(with_draft(vocabulary.path(), 3)),
              HasSubstr("its vocabulary has 8000 tokens"));
  EXPECT_THAT(refusal(with_draft(small_config().model, 3)), HasSubstr("is the model itself"));
  EXPECT_THAT(refusal(with_draft(small_config().model + "/../books-2m", 3)),
              HasSubstr("is the model itself"));
  EXPECT_THAT(refusal(with_draft("/nowhere", 3)), HasSubstr("'/nowhere' is not a folder"));
  EXPECT_THAT(refusal(with_draft("ngram", 17)), HasSubstr("--draft-depth 17"));
  EngineConfig huge = with_draft(draft().path(), 3);
  huge.kv_cache_tokens = std::int64_t{1} << 40;
  EXPECT_THAT(refusal(huge), HasSubstr("KV caches of both models"));
}

TEST(Speculation, refuses_a_draft_with_another_tokenizer) {
  const DraftFolder folder;
  const auto path = std::filesystem::path(folder.path()) / "tokenizer.json";
  std::ifstream file(path);
  auto tokenizer = nlohmann::json::parse(file);
  auto& vocabulary = tokenizer["model"]["vocab"];
  std::string first;
  std::string second;
  for (const auto& [token, id] : vocabulary.items()) {
    if (id == 7000) first = token;
    if (id == 7001) second = token;
  }
  vocabulary[first] = 7001;
  vocabulary[second] = 7000;
  std::filesystem::remove(path);
  std::ofstream(path) << tokenizer.dump();
  EXPECT_THAT(refusal(with_draft(folder.path(), 3)), HasSubstr("(token 7000 differs)"));
  std::filesystem::remove(path);
  EXPECT_THAT(refusal(with_draft(folder.path(), 3)), HasSubstr("has no tokenizer to compare"));
}

/// An engine on a device that runs ahead and draws tokens.
template <class AnyAheadBackend>
std::unique_ptr<Engine> ahead_engine(EngineConfig config, AnyAheadBackend*& backend) {
  config.device.kind = DeviceKind::kCpu;
  config.max_step_tokens = default_step_tokens(config.device);
  LoadedModel model = load_model(config);
  config.kv_dtype = model.kv_dtype;
  auto wrapped = std::make_unique<AnyAheadBackend>(std::move(model.backend), true);
  backend = wrapped.get();
  model.backend = std::move(wrapped);
  std::optional<DraftModel> draft_model;
  if (!config.speculation.model.empty()) draft_model = load_draft_model(config, model);
  return std::make_unique<EngineLoop>(config, std::move(model), std::move(draft_model));
}

Request request_of_101_tokens(const Engine& engine) {
  Request request;
  request.prompt_tokens = engine.tokenizer()->encode(kText);
  request.sampling.max_tokens = 101;
  request.sampling.ignore_eos = true;
  return request;
}

/// On a device that draws tokens, drafts that were drawn are judged on the host all the same: the
/// device's own number would confirm a part of them only.
TEST(Speculation, a_device_that_draws_leaves_drawn_drafts_to_the_host) {
  AheadBackend* backend = nullptr;
  const auto engine = ahead_engine(with_draft(perfect_draft().path(), 4), backend);
  Request request = request_of_101_tokens(*engine);
  request.sampling.temperature = 1.0;
  run(*engine, {request, request, request});
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.draft_error, "");
  EXPECT_EQ(stats.num_draft_tokens, 3 * 80);
  EXPECT_EQ(stats.num_accepted_draft_tokens, 3 * 80);
}

/// A step that drafts waits for the one before and its own drafts don't: k passes of a draft model
/// leave k - 1 placeholders.
TEST(Speculation, no_draft_token_waits_for_the_host) {
  AheadBackend* backend = nullptr;
  const auto engine = ahead_engine(with_draft(perfect_draft().path(), 4), backend);
  const Request request = request_of_101_tokens(*engine);
  run(*engine, {request});
  EXPECT_EQ(engine->stats().num_steps, 1 + 20);
  EXPECT_EQ(engine->stats().num_accepted_draft_tokens, 80);
  EXPECT_EQ(backend->num_placeholders, 20 * 3);
}

TEST(Speculation, without_drafts_the_engine_runs_ahead) {
  EngineConfig config = with_draft("ngram", std::nullopt);
  AheadBackend* backend = nullptr;
  const auto engine = ahead_engine(config, backend);
  Request request;
  for (std::int32_t token = 300; token < 400; ++token) request.prompt_tokens.push_back(token);
  request.sampling.max_tokens = 200;
  request.sampling.ignore_eos = true;
  request.sampling.temperature = 5.0;  // no three tokens in a row occur twice
  request.sampling.seed = 1;
  run(*engine, {request});
  EXPECT_EQ(engine->stats().num_draft_tokens, 0);
  EXPECT_EQ(backend->num_placeholders, 199);
}

/// Once nothing was drafted for long, the policy is asked now and then only: when it says yes, the
/// engine finishes the step under way, and must draft then.
TEST(Speculation, drafts_after_a_long_time_without_on_a_device_that_runs_ahead) {
  EngineConfig config = with_draft(draft().path(), std::nullopt);
  config.model = std::string(IOL_SOURCE_DIR) + "/models/books-16m";
  config.speculation.simulated_acceptance = 1.0;
  AheadBackend* backend = nullptr;
  const auto engine = ahead_engine(config, backend);
  Request request = request_of_101_tokens(*engine);
  request.speculates = false;
  run(*engine, {request});
  EXPECT_EQ(engine->stats().num_draft_tokens, 0);
  request.speculates = true;
  // A busy machine may take several requests to see that drafts pay.
  for (int round = 0; round < 20 && engine->stats().num_draft_tokens == 0; ++round)
    run(*engine, {request});
  EXPECT_GT(engine->stats().num_draft_tokens, 0);
}

/// Says a b c 0 a b c 1 a b c 2 ...: lookup always has a guess of the number, and is always wrong.
class CountingBackend final : public AheadBackend {
 public:
  using AheadBackend::AheadBackend;
  static std::int32_t token_at(std::int32_t position) {
    return position % 4 < 3 ? 100 + position % 4 : 1000 + position / 4;
  }

 protected:
  std::int32_t choose(Activations&, const StepInput& input, int row) override {
    const auto token = static_cast<std::size_t>(input.logit_tokens[static_cast<std::size_t>(row)]);
    return token_at(input.positions[token] + 1);
  }
};

/// Each guess stops the engine from running ahead, and none becomes a draft that is judged.
TEST(Speculation, guesses_that_are_always_wrong_stop_being_waited_for) {
  CountingBackend* backend = nullptr;
  const auto engine = ahead_engine(with_draft("ngram", std::nullopt), backend);
  Request request;
  for (std::int32_t i = 0; i < 40; ++i)
    request.prompt_tokens.push_back(CountingBackend::token_at(i));
  request.sampling.max_tokens = 450;
  request.sampling.ignore_eos = true;
  const Outcome outcome = run(*engine, {request})[0];
  ASSERT_EQ(outcome.tokens.size(), 450U);
  EXPECT_EQ(outcome.tokens.back(), CountingBackend::token_at(40 + 449));
  EXPECT_EQ(engine->stats().num_accepted_draft_tokens, 0);
  EXPECT_GT(backend->num_placeholders, 400);
}

/// Says what it was to prepare for.
class PreparingBackend final : public AheadBackend {
 public:
  using AheadBackend::AheadBackend;
  void prepare_steps(Activations& activations, const StepLimits& limits, const void* /*model*/,
                     const KvCache& /*cache*/, const std::function<void()>& operations) override {
    EXPECT_TRUE(operations);
    prepared_for[&activations] = limits;
  }
  std::unordered_map<const Activations*, StepLimits> prepared_for;
};

TEST(Speculation, devices_prepare_for_steps_with_drafts_alone) {
  PreparingBackend* backend = nullptr;
  EngineConfig config = with_draft("ngram", std::nullopt);
  config.max_batch = 8;
  config.max_context = 300;
  {
    const auto engine = ahead_engine(config, backend);
    ASSERT_EQ(backend->prepared_for.size(), 1U);
    const StepLimits& limits = backend->prepared_for.begin()->second;
    EXPECT_EQ(limits.num_sequences, 8);
    EXPECT_EQ(limits.num_tokens, 8 + 4 * 8);  // see most_step_drafts()
    EXPECT_EQ(limits.num_positions, 300);
  }
  config.speculation.depth = 0;
  {
    const auto engine = ahead_engine(config, backend);
    EXPECT_TRUE(backend->prepared_for.empty());
  }
  EngineConfig with_model = with_draft(draft().path(), std::nullopt);
  const auto engine = ahead_engine(with_model, backend);
  EXPECT_EQ(backend->prepared_for.size(), 2U);  // the model's steps and the draft model's
}

TEST(Speculation, requests_with_and_without_it_share_a_batch) {
  const auto engine = Engine::create(with_draft(perfect_draft().path(), 4));
  Request request;
  request.prompt_tokens = engine->tokenizer()->encode(kText);
  request.sampling.max_tokens = 60;
  request.sampling.ignore_eos = true;
  std::vector<int> num_drafted(2);
  for (std::size_t i = 0; i < 2; ++i) {
    request.speculates = i == 0;
    engine->submit(request, [&num_drafted, i](const TokenEvent& event) {
      num_drafted[i] += event.was_drafted ? 1 : 0;
    });
  }
  engine->drain();
  EXPECT_GT(num_drafted[0], 40);
  EXPECT_EQ(num_drafted[1], 0);
}

TEST(Speculation, a_quantized_draft_changes_no_token) {
  const auto plain = Engine::create(small_config());
  const auto requests = all_kinds_of_requests(*plain);
  const auto expected = run(*plain, requests);
  EngineConfig config = with_draft(draft().path(), 3);
  const std::int64_t whole_bytes = Engine::create(config)->memory().draft_model_bytes;
  std::map<std::string, std::int64_t> bytes;
  for (const char* format : {"auto", "int8", "fp8"}) {
    config.speculation.quant = parse_draft_format(format);
    const auto engine = Engine::create(config);
    const auto outcomes = run(*engine, requests);
    for (std::size_t i = 0; i < requests.size(); ++i)
      EXPECT_TRUE(identical(outcomes[i], expected[i], expected[i].tokens.size())) << i;
    EXPECT_GT(engine->stats().num_accepted_draft_tokens, 0);
    bytes[format] = engine->memory().draft_model_bytes;
    EXPECT_LT(bytes[format], whole_bytes);
  }
  EXPECT_EQ(bytes["auto"], bytes["int8"]);
}

}  // namespace
}  // namespace iol::test
