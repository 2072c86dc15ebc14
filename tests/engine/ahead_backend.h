#pragma once
// A device that runs ahead, made of one that doesn't: results of a step can't be read before it is
// finished, and placeholders are resolved from the step before, as a GPU does. If wanted it draws
// tokens as well, and spoils the logits that it drew from.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <unordered_map>
#include <utility>

#include "backend/backend.h"
#include "sampler/sampler.h"
#include "tests/engine/host_swap_space.h"

namespace iol::test {

class AheadBackend : public Backend {
 public:
  explicit AheadBackend(std::unique_ptr<Backend> inner, bool samples = false)
      : inner_(std::move(inner)), samples_(samples) {}

  [[nodiscard]] std::string name() const override { return inner_->name(); }
  MatrixPtr pack(const StackedMatrix& matrix) override { return inner_->pack(matrix); }
  VectorPtr upload(const StackedMatrix& vector) override { return inner_->upload(vector); }
  std::unique_ptr<KvCache> make_kv_cache(const KvCacheShape& shape) override {
    return inner_->make_kv_cache(shape);
  }
  std::unique_ptr<KvSwapSpace> make_swap_space(KvCache& cache, int num_slots) override {
    return std::make_unique<HostSwapSpace>(dynamic_cast<cpu::CpuKvCache&>(cache), num_slots);
  }
  std::unique_ptr<Activations> make_activations(const TransformerShape& shape, int max_tokens,
                                                int max_logit_tokens) override {
    return inner_->make_activations(shape, max_tokens, max_logit_tokens);
  }
  void observe_linear_inputs(LinearInputObserver* observer) override {
    inner_->observe_linear_inputs(observer);
  }

  [[nodiscard]] bool samples() const override { return samples_; }
  [[nodiscard]] bool runs_ahead() const override { return true; }
  void run_step(Activations& activations, const StepInput& input, const void* model,
                const KvCache& cache, const std::function<void()>& operations) override {
    Steps& steps = steps_[&activations];
    EXPECT_LT(steps.under_way.size(), 2U) << "more than two steps under way";
    tokens_.assign(input.token_ids.begin(), input.token_ids.end());
    for (std::int32_t& token : tokens_) {
      if (token >= 0) continue;
      ++num_placeholders;
      token = steps.last.at(static_cast<std::size_t>(-1 - token));
    }
    inner_->run_step(activations, input, model, cache, operations);
    steps.last.clear();
    for (int row = 0; row < static_cast<int>(input.logit_tokens.size()); ++row)
      steps.last.push_back(choose(activations, input, row));
    steps.under_way.push_back(steps.last);
  }
  void finish_step(Activations& activations) override {
    Steps& steps = steps_[&activations];
    ASSERT_FALSE(steps.under_way.empty());
    inner_->finish_step(activations);
    steps.finished = steps.under_way.front();
    steps.under_way.pop_front();
  }

  void embed(Activations& activations, const StepInput& input, const WeightMatrix& table) override {
    StepInput known = input;
    known.token_ids = tokens_;
    inner_->embed(activations, known, table);
  }
  void project_qkv(Activations& activations, const StepInput& input, const LayerWeights& weights,
                   KvCache& cache, int layer) override {
    inner_->project_qkv(activations, input, weights, cache, layer);
  }
  void attend(Activations& activations, const StepInput& input, const KvCache& cache, int layer,
              std::optional<int> window) override {
    inner_->attend(activations, input, cache, layer, window);
  }
  void project_output(Activations& activations, const StepInput& input,
                      const LayerWeights& weights) override {
    inner_->project_output(activations, input, weights);
  }
  void feed_forward(Activations& activations, const StepInput& input,
                    const LayerWeights& weights) override {
    inner_->feed_forward(activations, input, weights);
  }
  void project_logits(Activations& activations, const StepInput& input,
                      const WeightVector& final_norm, const WeightMatrix& head) override {
    inner_->project_logits(activations, input, final_norm, head);
  }

  std::span<float> logits(Activations& activations, int row) override {
    EXPECT_TRUE(steps_[&activations].under_way.empty()) << "logits of a step before the last";
    return inner_->logits(activations, row);
  }
  std::int32_t chosen_token(Activations& activations, int row) override {
    return steps_[&activations].finished.at(static_cast<std::size_t>(row));
  }

  std::int64_t num_placeholders = 0;  // tokens that the host didn't know

 protected:
  /// The token of a row of the step that was just computed.
  virtual std::int32_t choose(Activations& activations, const StepInput& input, int row) {
    const TokenChoice choice = samples_ && !input.choices.empty()
                                   ? input.choices[static_cast<std::size_t>(row)]
                                   : TokenChoice();
    if (choice.temperature <= 0) return inner_->chosen_token(activations, row);
    Sequence sequence;
    sequence.sampling.temperature = choice.temperature;
    sequence.sampling.top_k = choice.top_k;
    sequence.sampling.top_p = choice.top_p;
    sequence.sampling.min_p = choice.min_p;
    const std::span<float> logits = inner_->logits(activations, row);
    SamplerState state;
    TokenDistribution distribution;
    sampler_.distribution(logits, sequence, state, distribution);
    std::ranges::fill(logits, std::numeric_limits<float>::quiet_NaN());
    return distribution.draw(choice.uniform);
  }

 private:
  /// Tokens that steps over some activations chose, by row.
  struct Steps {
    std::vector<std::int32_t> last;
    std::deque<std::vector<std::int32_t>> under_way;
    std::vector<std::int32_t> finished;
  };

  std::unique_ptr<Backend> inner_;
  bool samples_;
  Sampler sampler_{std::span<const std::int32_t>()};
  std::vector<std::int32_t> tokens_;  // of the step at hand
  std::unordered_map<const Activations*, Steps> steps_;
};

}  // namespace iol::test
