#pragma once
// A small model on any backend, advanced stream by stream.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <memory>
#include <utility>

#include "backend/backend.h"
#include "base/error.h"
#include "model/weights.h"
#include "tests/backend/reference.h"

namespace iol::test {

inline constexpr int kBlockSize = 16;

/// How the layers' matrices and the cache are kept; the embedding and the head stay plain.
struct DeviceFormats {
  DType kv_dtype = DType::kBF16;
  WeightFormat weights = WeightFormat::kNone;
  std::int64_t group_size = kDefaultGroupSize;
};

/// A model on one backend, with a cache whose blocks are handed out in a scattered order.
class DeviceModel {
 public:
  DeviceModel(const TestModel& model, std::unique_ptr<Backend> backend,
              const DeviceFormats& formats)
      : model_(model), backend_(std::move(backend)) {
    const auto pack = [&](std::vector<const TestTensor*> parts,
                          Stacking stacking = Stacking::kConcatenated) {
      StackedMatrix stacked = stack(parts, stacking);
      stacked.format = formats.weights;
      stacked.group_size = formats.group_size;
      return backend_->pack(stacked);
    };
    const auto upload = [&](bool present, std::vector<const TestTensor*> parts,
                            Stacking stacking = Stacking::kConcatenated) {
      return present ? backend_->upload(stack(parts, stacking)) : VectorPtr{};
    };
    embedding_ = backend_->pack(stack({&model.embedding}, Stacking::kConcatenated));
    head_ = backend_->pack(stack({&model.head}, Stacking::kConcatenated));
    final_norm_ = upload(true, {&model.final_norm});
    for (const auto& layer : model.layers) {
      LayerWeights weights;
      weights.input_norm = upload(true, {&layer.input_norm});
      weights.post_attention_norm = upload(true, {&layer.post_norm});
      weights.qkv = pack({&layer.q, &layer.k, &layer.v});
      weights.qkv_bias = upload(model.biases, {&layer.q_bias, &layer.k_bias, &layer.v_bias});
      weights.q_norm = upload(model.qk_norm, {&layer.q_norm});
      weights.k_norm = upload(model.qk_norm, {&layer.k_norm});
      weights.output = pack({&layer.o});
      weights.output_bias = upload(model.biases, {&layer.o_bias});
      weights.gate_up = pack({&layer.gate, &layer.up}, Stacking::kInterleaved);
      weights.gate_up_bias =
          upload(model.biases, {&layer.gate_bias, &layer.up_bias}, Stacking::kInterleaved);
      weights.down = pack({&layer.down});
      weights.down_bias = upload(model.biases, {&layer.down_bias});
      layers_.push_back(std::move(weights));
    }
    name_next_norms(layers_, *final_norm_);
    const auto& shape = model.shape;
    constexpr int kNumBlocks = 101;
    cache_ = backend_->make_kv_cache({shape.num_layers, kNumBlocks, kBlockSize, shape.num_kv_heads,
                                      shape.head_dim, formats.kv_dtype});
    activations_ = backend_->make_activations(shape, 1024, 1024);
    for (int block = 0; block < kNumBlocks; ++block) free_blocks_.push_back(block * 7 % kNumBlocks);
  }

  struct Stream {
    std::vector<std::int32_t> tokens;
    std::vector<BlockId> blocks;
    int num_done = 0;
  };

  Stream open(std::vector<std::int32_t> tokens) {
    Stream stream{std::move(tokens), {}, 0};
    take_blocks(stream);
    return stream;
  }

  void prepare_steps(const StepLimits& limits) {
    backend_->prepare_steps(*activations_, limits, this, *cache_, [&] { run_operations({}); });
  }
  void observe(LinearInputObserver* observer) { backend_->observe_linear_inputs(observer); }
  [[nodiscard]] bool ran_prepared() const { return backend_->ran_prepared(); }

  /// The stream's blocks are free again.
  void close(Stream& stream) {
    std::ranges::copy(stream.blocks, std::back_inserter(free_blocks_));
    stream.blocks.clear();
  }
  /// Moves a stream's keys and values to the host; whoever is opened next gets its blocks.
  void put_away(Stream& stream) {
    swap_space_ = backend_->make_swap_space(*cache_, kNumSlots);
    std::vector<BlockCopy> copies;  // longer than a device may take at once
    for (int slot = 0; slot < kSpareSlots; ++slot) copies.push_back({stream.blocks[0], slot});
    std::ranges::copy(places_of(stream), std::back_inserter(copies));
    swap_space_->copy_out(copies);
    close(stream);
  }
  /// Into other blocks.
  void bring_back(Stream& stream) {
    take_blocks(stream);
    swap_space_->copy_in(places_of(stream));
  }

  /// Advances each stream by its number of tokens in one step; returns the logits of all of them.
  std::vector<std::vector<float>> step(const std::vector<std::pair<Stream*, int>>& parts) {
    const auto num_tokens = run(parts, {});
    std::vector<std::vector<float>> logits;
    for (int row = 0; row < num_tokens; ++row) {
      const auto view = backend_->logits(*activations_, row);
      logits.emplace_back(view.begin(), view.end());
      const auto best = backend_->chosen_token(*activations_, row);
      EXPECT_EQ(best, std::max_element(view.begin(), view.end()) - view.begin());
    }
    return logits;
  }

  /// Advances a stream by one token for each choice; returns the tokens chosen behind them.
  std::vector<std::int32_t> choose(Stream& stream, const std::vector<TokenChoice>& choices) {
    const auto num_tokens = run({{&stream, static_cast<int>(choices.size())}}, choices);
    std::vector<std::int32_t> tokens;
    for (int row = 0; row < num_tokens; ++row)
      tokens.push_back(backend_->chosen_token(*activations_, row));
    return tokens;
  }

 private:
  static constexpr int kSpareSlots = 300;
  static constexpr int kNumSlots = 400;

  void take_blocks(Stream& stream) {
    for (std::size_t i = 0; i * kBlockSize < stream.tokens.size(); ++i) {
      IOL_CHECK(!free_blocks_.empty());
      stream.blocks.push_back(free_blocks_.back());
      free_blocks_.pop_back();
    }
  }
  static std::vector<BlockCopy> places_of(const Stream& stream) {
    std::vector<BlockCopy> places;
    for (int i = 0; i * kBlockSize < stream.num_done; ++i)
      places.push_back({stream.blocks[static_cast<std::size_t>(i)], kSpareSlots + i});
    return places;
  }

  /// A step that wants the logits of all its tokens; returns their number.
  int run(const std::vector<std::pair<Stream*, int>>& parts,
          const std::vector<TokenChoice>& choices) {
    std::vector<std::int32_t> tokens, positions, wanted;
    std::vector<SequenceSlice> slices;
    for (const auto& [stream, count] : parts) {
      slices.push_back({static_cast<int>(tokens.size()), count, stream->num_done, stream->blocks});
      for (int i = 0; i < count; ++i) {
        positions.push_back(stream->num_done + i);
        wanted.push_back(static_cast<std::int32_t>(tokens.size()));
        tokens.push_back(stream->tokens[static_cast<std::size_t>(stream->num_done + i)]);
      }
      stream->num_done += count;
    }
    const StepInput input{tokens, positions, slices, wanted, choices};
    backend_->run_step(*activations_, input, this, *cache_, [&] { run_operations(input); });
    backend_->finish_step(*activations_);
    return static_cast<int>(tokens.size());
  }

  void run_operations(const StepInput& input) {
    backend_->embed(*activations_, input, *embedding_);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const auto layer = static_cast<int>(i);
      backend_->project_qkv(*activations_, input, layers_[i], *cache_, layer);
      backend_->attend(*activations_, input, *cache_, layer, model_.window);
      backend_->project_output(*activations_, input, layers_[i]);
      backend_->feed_forward(*activations_, input, layers_[i]);
    }
    backend_->project_logits(*activations_, input, *final_norm_, *head_);
  }

  static StackedMatrix stack(const std::vector<const TestTensor*>& parts, Stacking stacking) {
    StackedMatrix stacked;
    stacked.stacking = stacking;
    for (const auto* part : parts) stacked.parts.push_back(part->host());
    return stacked;
  }

  const TestModel& model_;
  std::unique_ptr<Backend> backend_;
  MatrixPtr embedding_, head_;
  VectorPtr final_norm_;
  std::vector<LayerWeights> layers_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<KvSwapSpace> swap_space_;
  std::unique_ptr<Activations> activations_;
  std::vector<BlockId> free_blocks_;
};

inline TransformerShape small_shape(int heads = 6, int kv_heads = 2, int head_dim = 32) {
  TransformerShape shape;
  shape.hidden_size = 80;
  shape.intermediate_size = 176;
  shape.num_heads = heads;
  shape.num_kv_heads = kv_heads;
  shape.head_dim = head_dim;
  shape.vocab_size = 203;
  shape.num_layers = 2;
  for (int i = 0; i < head_dim / 2; ++i) {
    shape.rope_inv_freq.push_back(static_cast<float>(std::pow(10000.0, -2.0 * i / head_dim)));
  }
  return shape;
}

inline std::vector<std::int32_t> random_tokens(int count, int vocab, std::uint64_t seed) {
  RandomStream random(seed);
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < count; ++i) {
    tokens.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocab))));
  }
  return tokens;
}

/// Relative error in the 2-norm that rounding explains. f32 sums of k terms err by about sqrt(k) u
/// each; activations rounded to bf16 (or an f16/bf16 cache) err by u = 2^-9 (2^-12) per operand, a
/// few dozen roundings deep.
inline double tolerance(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return 24 * 0x1p-9;
    case DType::kF16:
      return 24 * 0x1p-12;
    default:
      return 200 * 0x1p-24;
  }
}

inline double relative_error(const std::vector<float>& got, const std::vector<double>& want) {
  double error = 0;
  double norm = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    error += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  return std::sqrt(error / norm);
}

}  // namespace iol::test
