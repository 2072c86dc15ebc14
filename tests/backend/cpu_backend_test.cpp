#include "backend/cpu/cpu_backend.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "backend/cpu/kernels_of.h"
#include "base/error.h"
#include "tests/backend/reference.h"

namespace iol::test {
namespace {

constexpr int kBlockSize = 16;

/// A model on one backend, with a cache whose blocks are handed out in a scattered order.
class DeviceModel {
 public:
  DeviceModel(const TestModel& model, Isa isa, DType dtype, int num_threads,
              std::optional<DType> kv_dtype = std::nullopt)
      : model_(model), backend_(make_cpu_backend({isa, num_threads, dtype})) {
    const auto pack = [&](std::vector<const TestTensor*> parts,
                          Stacking stacking = Stacking::kConcatenated) {
      return backend_->pack(stack(parts, stacking));
    };
    const auto upload = [&](bool present, std::vector<const TestTensor*> parts,
                            Stacking stacking = Stacking::kConcatenated) {
      return present ? backend_->upload(stack(parts, stacking)) : VectorPtr{};
    };
    embedding_ = pack({&model.embedding});
    head_ = pack({&model.head});
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
    const auto& shape = model.shape;
    constexpr int kNumBlocks = 101;
    cache_ = backend_->make_kv_cache({shape.num_layers, kNumBlocks, kBlockSize, shape.num_kv_heads,
                                      shape.head_dim, kv_dtype.value_or(dtype)});
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
    for (std::size_t i = 0; i * kBlockSize < stream.tokens.size(); ++i) {
      stream.blocks.push_back(free_blocks_.back());
      free_blocks_.pop_back();
    }
    return stream;
  }

  /// Advances each stream by its number of tokens in one step; returns the logits of all of them.
  std::vector<std::vector<float>> step(const std::vector<std::pair<Stream*, int>>& parts) {
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
    const StepInput input{tokens, positions, slices, wanted};
    backend_->embed(*activations_, input, *embedding_);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const auto layer = static_cast<int>(i);
      backend_->project_qkv(*activations_, input, layers_[i], *cache_, layer);
      backend_->attend(*activations_, input, *cache_, layer, model_.window);
      backend_->project_output(*activations_, input, layers_[i]);
      backend_->feed_forward(*activations_, input, layers_[i]);
    }
    backend_->project_logits(*activations_, input, *final_norm_, *head_);
    std::vector<std::vector<float>> logits;
    for (int row = 0; row < static_cast<int>(tokens.size()); ++row) {
      const auto view = backend_->logits(*activations_, row);
      logits.emplace_back(view.begin(), view.end());
      const auto best = backend_->argmax(*activations_, row);
      EXPECT_EQ(best, std::max_element(view.begin(), view.end()) - view.begin());
    }
    return logits;
  }

 private:
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
  std::unique_ptr<Activations> activations_;
  std::vector<BlockId> free_blocks_;
};

TransformerShape small_shape(int heads = 6, int kv_heads = 2, int head_dim = 32) {
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

std::vector<std::int32_t> random_tokens(int count, int vocab, std::uint64_t seed) {
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
double tolerance(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return 24 * 0x1p-9;
    case DType::kF16:
      return 24 * 0x1p-12;
    default:
      return 200 * 0x1p-24;
  }
}

double relative_error(const std::vector<float>& got, const std::vector<double>& want) {
  double error = 0;
  double norm = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    error += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  return std::sqrt(error / norm);
}

struct Case {
  Isa isa;
  DType dtype;
};

class CpuBackendTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const auto supported = supported_isas();
    if (std::find(supported.begin(), supported.end(), GetParam().isa) == supported.end()) {
      GTEST_SKIP() << "this processor has no " << isa_name(GetParam().isa);
    }
  }
  void expect_reference(const TestModel& model, int num_tokens) {
    DeviceModel device(model, GetParam().isa, GetParam().dtype, 2);
    auto stream = device.open(random_tokens(num_tokens, model.shape.vocab_size, 5));
    const auto want = reference_logits(model, stream.tokens);
    const auto got = device.step({{&stream, num_tokens}});
    for (std::size_t t = 0; t < want.size(); ++t) {
      EXPECT_LT(relative_error(got[t], want[t]), tolerance(GetParam().dtype)) << "token " << t;
    }
  }
};

TEST_P(CpuBackendTest, logits_match_the_double_reference) {
  expect_reference(random_model(small_shape(), false, false, {}, GetParam().dtype, 1), 150);
}

TEST_P(CpuBackendTest, biases_and_head_norms_match_the_double_reference) {
  expect_reference(random_model(small_shape(4, 4, 16), true, true, {}, GetParam().dtype, 2), 40);
}

TEST_P(CpuBackendTest, sliding_windows_match_the_double_reference) {
  expect_reference(random_model(small_shape(8, 1, 64), false, false, 20, GetParam().dtype, 3), 160);
}

TEST_P(CpuBackendTest, wide_heads_match_the_double_reference) {
  expect_reference(random_model(small_shape(2, 1, 112), false, false, {}, GetParam().dtype, 4), 33);
}

TEST_P(CpuBackendTest, a_corrupted_weight_is_noticed) {
  TestModel model = random_model(small_shape(), false, false, {}, GetParam().dtype, 1);
  DeviceModel device(model, GetParam().isa, GetParam().dtype, 1);
  model.layers[1].down.values[777] += 4.0F;
  auto stream = device.open(random_tokens(20, model.shape.vocab_size, 5));
  const auto want = reference_logits(model, stream.tokens);
  const auto got = device.step({{&stream, 20}});
  EXPECT_GT(relative_error(got[19], want[19]), tolerance(GetParam().dtype));
}

TEST_P(CpuBackendTest, results_do_not_depend_on_batch_chunks_or_threads) {
  constexpr DType kKvFormats[] = {DType::kI8, DType::kF8E4M3};
  const TestModel model = random_model(small_shape(), true, false, {}, GetParam().dtype, 6);
  constexpr int kTokens = 300;
  const auto tokens = random_tokens(kTokens, model.shape.vocab_size, 7);
  const auto kv_dtype = [&](int trial) {
    return trial < 6 ? GetParam().dtype : kKvFormats[trial % 2];
  };
  std::map<DType, std::vector<std::vector<float>>> whole;  // in one step, alone
  for (const DType kv : {kv_dtype(0), kv_dtype(6), kv_dtype(7)}) {
    DeviceModel alone(model, GetParam().isa, GetParam().dtype, 1, kv);
    auto stream = alone.open(tokens);
    whole[kv] = alone.step({{&stream, kTokens}});
  }
  EXPECT_NE(whole[kv_dtype(0)], whole[kv_dtype(6)]);

  for (int trial = 0; trial < 10; ++trial) {
    RandomStream random(static_cast<std::uint64_t>(trial));
    const auto& want = whole[kv_dtype(trial)];
    DeviceModel device(model, GetParam().isa, GetParam().dtype, 1 + trial % 3, kv_dtype(trial));
    auto stream = device.open(tokens);
    std::vector<DeviceModel::Stream> others;
    for (int i = 0; i < 7; ++i)
      others.push_back(device.open(random_tokens(100, model.shape.vocab_size, 50 + i)));
    while (stream.num_done < kTokens) {
      const int most = trial == 0 ? 1 : 60;
      const int begin = stream.num_done;
      const int count = std::min(kTokens - begin, 1 + static_cast<int>(random.below(most)));
      std::vector<std::pair<DeviceModel::Stream*, int>> parts;
      std::size_t before = 0;  // tokens of the streams in front of ours
      for (auto& other : others) {
        const int rest = 100 - other.num_done;
        if (rest > 0 && random.below(2) == 0) {
          parts.emplace_back(
              &other,
              1 + static_cast<int>(random.below(static_cast<std::uint64_t>(std::min(rest, 9)))));
          before += static_cast<std::size_t>(parts.back().second);
        }
      }
      parts.emplace_back(&stream, count);
      const auto got = device.step(parts);
      for (int i = 0; i < count; ++i) {
        const auto& expected = want[static_cast<std::size_t>(begin + i)];
        const auto& actual = got[before + static_cast<std::size_t>(i)];
        ASSERT_EQ(std::memcmp(expected.data(), actual.data(), expected.size() * sizeof(float)), 0)
            << "token " << begin + i << ", trial " << trial;
      }
    }
  }
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const Isa isa : all_isas()) {
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16})
      cases.push_back({isa, dtype});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(EveryIsa, CpuBackendTest, testing::ValuesIn(all_cases()),
                         [](const auto& info) {
                           std::string name(isa_name(info.param.isa));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name + "_" + std::string(dtype_name(info.param.dtype));
                         });

TEST(CpuBackend, sums_exponentials_like_double_arithmetic) {
  RandomStream random(11);
  for (const Isa isa : supported_isas()) {
    const auto& kernels = cpu::kernels_of(isa);
    for (const int count : {1, 7, 16, 33, 1024, 5003}) {
      std::vector<float> values;
      for (int i = 0; i < count; ++i)
        values.push_back(static_cast<float>(40 * random.uniform() - 30));
      const float most = kernels.argmax(values.data(), 0, count).value;
      EXPECT_EQ(most, *std::max_element(values.begin(), values.end()));
      double want = 0;
      for (const float value : values) want += std::exp(double{value} - most);
      EXPECT_NEAR(kernels.sum_exp(values.data(), count, most) / want, 1.0, 1e-6)
          << isa_name(isa) << ", " << count;
    }
  }
}

TEST(CpuBackend, refuses_weights_it_can_not_compute_in) {
  EXPECT_THROW(make_cpu_backend({{}, 1, DType::kI8}), InputError);
}

TEST(CpuBackend, refuses_head_sizes_without_a_kernel) {
  const auto backend = make_cpu_backend({{}, 1, DType::kF32});
  EXPECT_THROW(backend->make_kv_cache({1, 4, 16, 1, 24, DType::kF32}), InputError);
  EXPECT_THROW(backend->make_kv_cache({1, 4, 10, 1, 32, DType::kF32}), InputError);
  EXPECT_THROW(backend->make_kv_cache({1, 4, 16, 1, 24, DType::kI8}), InputError);
  EXPECT_THROW(backend->make_kv_cache({1, 4, 16, 1, 32, DType::kI16}), InputError);
}

}  // namespace
}  // namespace iol::test
