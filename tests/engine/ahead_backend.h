#pragma once
// A device that runs ahead, made of one that doesn't: results of a step can't be read before it is
// finished, and placeholders are resolved from the step before, as a GPU does.
#include <gtest/gtest.h>

#include <deque>
#include <utility>

#include "backend/backend.h"

namespace iol::test {

class AheadBackend : public Backend {
 public:
  explicit AheadBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  [[nodiscard]] std::string name() const override { return inner_->name(); }
  MatrixPtr pack(const StackedMatrix& matrix) override { return inner_->pack(matrix); }
  VectorPtr upload(const StackedMatrix& vector) override { return inner_->upload(vector); }
  std::unique_ptr<KvCache> make_kv_cache(const KvCacheShape& shape) override {
    return inner_->make_kv_cache(shape);
  }
  std::unique_ptr<Activations> make_activations(const TransformerShape& shape, int max_tokens,
                                                int max_logit_tokens) override {
    return inner_->make_activations(shape, max_tokens, max_logit_tokens);
  }
  void observe_linear_inputs(LinearInputObserver* observer) override {
    inner_->observe_linear_inputs(observer);
  }

  [[nodiscard]] bool runs_ahead() const override { return true; }
  void run_step(Activations& activations, const StepInput& input, const void* model,
                const KvCache& cache, const std::function<void()>& operations) override {
    EXPECT_LT(chosen_.size(), 2U) << "more than two steps under way";
    tokens_.assign(input.token_ids.begin(), input.token_ids.end());
    for (std::int32_t& token : tokens_) {
      if (token >= 0) continue;
      ++num_placeholders;
      token = last_chosen_.at(static_cast<std::size_t>(-1 - token));
    }
    inner_->run_step(activations, input, model, cache, operations);
    last_chosen_.clear();
    for (int row = 0; row < static_cast<int>(input.logit_tokens.size()); ++row)
      last_chosen_.push_back(inner_->chosen_token(activations, row));
    chosen_.push_back(last_chosen_);
  }
  void finish_step(Activations& activations) override {
    ASSERT_FALSE(chosen_.empty());
    inner_->finish_step(activations);
    finished_ = chosen_.front();
    chosen_.pop_front();
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
    EXPECT_TRUE(chosen_.empty()) << "logits of a step before the last";
    return inner_->logits(activations, row);
  }
  std::int32_t chosen_token(Activations&, int row) override {
    return finished_.at(static_cast<std::size_t>(row));
  }

  std::int64_t num_placeholders = 0;  // tokens that the host didn't know

 private:
  std::unique_ptr<Backend> inner_;
  std::vector<std::int32_t> tokens_;              // of the step at hand
  std::vector<std::int32_t> last_chosen_;         // of the last step
  std::deque<std::vector<std::int32_t>> chosen_;  // of the steps under way
  std::vector<std::int32_t> finished_;
};

}  // namespace iol::test
