// The CUDA backend against double precision and against the CPU backend, in every format, and
// against itself: a token's result has the same bits whatever shares its step. Needs a GPU.
#include "backend/cuda/cuda_backend.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/cuda_device.h"
#include "base/error.h"
#include "tests/backend/batch_invariance.h"
#include "tests/backend/device_model.h"

namespace iol::test {
namespace {

std::string safe(std::string_view name) {
  std::string text(name);
  std::replace(text.begin(), text.end(), '-', '_');
  return text;
}

struct Case {
  DType dtype;
  DType kv;
  WeightFormat weights = WeightFormat::kNone;
  std::int64_t group_size = 16;  // divides every K of the small models
};

std::string name_of(const Case& c) {
  std::string name = std::string(dtype_name(c.dtype)) + "_kv_" + std::string(kv_format_name(c.kv)) +
                     "_" + safe(weight_format_name(c.weights));
  if (c.weights == WeightFormat::kInt4) name += "_" + std::to_string(c.group_size);
  return name;
}

DeviceModel cuda_model(const TestModel& model, const Case& c, bool deterministic = false) {
  return {model, make_cuda_backend({0, 2, c.dtype, deterministic}),
          DeviceFormats{c.kv, c.weights, c.group_size}};
}

class CudaBackendTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

/// What rounding explains between two backends that compute the same format. Each rounds
/// activations (u = 2^-9 of bf16, 2^-12 of f16) in places of its own, a few dozen deep. Where
/// numbers become codes, such a difference moves some to the code beside theirs:
///   int8  a step is 2^-7 of the row's largest, about 3 times its norm per element; a quarter of
///   the
///         codes move at most: sqrt(1/4) 3 2^-7 = 3 2^-8
///   fp8   a step is 2^-3.5 of a number on average; one in eight moves: sqrt(1/8) 2^-3.5 = 2^-5
/// independently in each of the 8 operands of two layers (sqrt(8) together), and the worst of some
/// hundred tokens is twice as far off; in fp8, whose steps are so large that a few codes of a row
/// of some hundred decide, two and a half times.
double tolerance_of(const Case& c) {
  const bool coded_kv = is_quantized_kv(c.kv);
  double most = std::max(tolerance(c.dtype), coded_kv ? tolerance(DType::kBF16) : tolerance(c.kv));
  const double flips = 2 * std::sqrt(8.0);
  if (c.kv == DType::kI8 || c.weights == WeightFormat::kInt8 || c.weights == WeightFormat::kInt4)
    most = std::max(most, flips * 3 * 0x1p-8);
  if (c.kv == DType::kF8E4M3 || c.weights == WeightFormat::kFp8)
    most = std::max(most, 1.25 * flips * 0x1p-5);
  return most;
}

void expect_cpu(const TestModel& model, const Case& c, int num_tokens) {
  DeviceModel cpu(model, make_cpu_backend({Isa::kPortable, 2, c.dtype}),
                  DeviceFormats{c.kv, c.weights, c.group_size});
  DeviceModel gpu = cuda_model(model, c);
  auto cpu_stream = cpu.open(random_tokens(num_tokens, model.shape.vocab_size, 5));
  auto gpu_stream = gpu.open(cpu_stream.tokens);
  const auto want = cpu.step({{&cpu_stream, num_tokens}});
  const auto got = gpu.step({{&gpu_stream, num_tokens}});
  double worst = 0;
  for (std::size_t t = 0; t < want.size(); ++t) {
    const double error = relative_error(got[t], {want[t].begin(), want[t].end()});
    worst = std::max(worst, error);
    ASSERT_LT(error, tolerance_of(c)) << "token " << t;
  }
  ::testing::Test::RecordProperty("worst", std::to_string(worst));
}

TEST_P(CudaBackendTest, logits_match_the_cpu_backend) {
  expect_cpu(random_model(small_shape(), false, false, {}, GetParam().dtype, 1), GetParam(), 150);
}

TEST_P(CudaBackendTest, biases_and_head_norms_match_the_cpu_backend) {
  expect_cpu(random_model(small_shape(4, 4, 16), true, true, {}, GetParam().dtype, 2), GetParam(),
             40);
}

TEST_P(CudaBackendTest, sliding_windows_match_the_cpu_backend) {
  expect_cpu(random_model(small_shape(8, 1, 64), false, false, 20, GetParam().dtype, 3), GetParam(),
             160);
}

TEST_P(CudaBackendTest, wide_heads_match_the_cpu_backend) {
  expect_cpu(random_model(small_shape(2, 1, 112), false, false, {}, GetParam().dtype, 4),
             GetParam(), 33);
  expect_cpu(random_model(small_shape(2, 2, 256), false, false, {}, GetParam().dtype, 8),
             GetParam(), 20);
}

TEST_P(CudaBackendTest, contexts_of_several_chunks_match_the_cpu_backend) {
  expect_cpu(random_model(small_shape(6, 2, 64), false, false, {}, GetParam().dtype, 11),
             GetParam(), 700);
}

/// All left operands, in the order in which they are shown.
class InputRecorder final : public LinearInputObserver {
 public:
  void observe(const WeightMatrix&, std::span<const float> row) override {
    rows.emplace_back(row.begin(), row.end());
  }
  std::vector<std::vector<float>> rows;
};

std::vector<std::vector<float>> observed_rows(DeviceModel device, int num_tokens, int vocab_size) {
  InputRecorder recorder;
  device.observe(&recorder);
  auto stream = device.open(random_tokens(num_tokens, vocab_size, 5));
  device.step({{&stream, num_tokens}});
  device.observe(nullptr);
  return recorder.rows;
}

TEST_P(CudaBackendTest, observed_inputs_match_the_cpu_backend) {
  const Case& c = GetParam();
  const TestModel model = random_model(small_shape(), false, false, {}, c.dtype, 12);
  for (const int num_tokens : {1, 7, 70}) {
    const auto want = observed_rows({model, make_cpu_backend({Isa::kPortable, 2, c.dtype}),
                                     DeviceFormats{c.kv, c.weights, c.group_size}},
                                    num_tokens, model.shape.vocab_size);
    const auto got = observed_rows(cuda_model(model, c), num_tokens, model.shape.vocab_size);
    ASSERT_EQ(got.size(), want.size());
    EXPECT_FALSE(want.empty());
    for (std::size_t i = 0; i < want.size(); ++i)
      ASSERT_LT(relative_error(got[i], {want[i].begin(), want[i].end()}), tolerance_of(c))
          << "row " << i << " of " << want.size() << ", " << num_tokens << " tokens";
  }
}

TEST_P(CudaBackendTest, a_corrupted_weight_is_noticed) {
  TestModel model = random_model(small_shape(), false, false, {}, GetParam().dtype, 1);
  DeviceModel gpu = cuda_model(model, GetParam());
  for (int i = 0; i < 40; ++i)
    model.layers[1].down.values[static_cast<std::size_t>(777 + i)] += 6.0F;
  auto stream = gpu.open(random_tokens(20, model.shape.vocab_size, 5));
  const auto want = reference_logits(model, stream.tokens);
  const auto got = gpu.step({{&stream, 20}});
  EXPECT_GT(relative_error(got[19], want[19]), tolerance_of(GetParam()));
}

TEST_P(CudaBackendTest, results_do_not_depend_on_batch_or_chunks) {
  const TestModel model = random_model(small_shape(), true, false, {}, GetParam().dtype, 6);
  constexpr int kTokens = 600;
  const auto tokens = random_tokens(kTokens, model.shape.vocab_size, 7);
  std::vector<std::vector<float>> whole;  // in one step, alone
  {
    DeviceModel alone = cuda_model(model, GetParam(), true);
    auto stream = alone.open(tokens);
    whole = alone.step({{&stream, kTokens}});
  }
  for (int trial = 0; trial < 4; ++trial) {
    DeviceModel device = cuda_model(model, GetParam(), true);
    ASSERT_NO_FATAL_FAILURE(expect_same_bits(
        device, tokens, whole, {static_cast<std::uint64_t>(trial), trial == 0 ? 1 : 140, 9}));
  }
}

/// Such steps are captured and repeated: each form comes several times, beside another stream.
TEST_P(CudaBackendTest, steps_of_few_tokens_have_the_bits_of_a_long_one) {
  const TestModel model = random_model(small_shape(), false, false, {}, GetParam().dtype, 12);
  constexpr int kPromptTokens = 240;  // the steps cross into a second chunk of attention
  constexpr int kRepetitions = 4;
  constexpr int kCounts[] = {1, 2, 3, 5, 6, 9, 17};
  const auto tokens = random_tokens(500, model.shape.vocab_size, 13);
  const auto other_tokens = random_tokens(100, model.shape.vocab_size, 14);
  std::vector<std::vector<float>> whole;
  {
    DeviceModel alone = cuda_model(model, GetParam(), true);
    auto stream = alone.open(tokens);
    whole = alone.step({{&stream, static_cast<int>(tokens.size())}});
  }
  DeviceModel device = cuda_model(model, GetParam(), true);
  auto stream = device.open(tokens);
  auto other = device.open(other_tokens);
  device.step({{&stream, kPromptTokens}});
  for (const int count : kCounts) {
    for (int repetition = 0; repetition < kRepetitions; ++repetition) {
      const auto first = static_cast<std::size_t>(stream.num_done);
      const auto got = device.step({{&stream, count}, {&other, 1 + count % 3}});
      for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
        ASSERT_EQ(got[i], whole[first + i]) << count << " tokens, the step's " << i;
    }
  }
}

/// Forms within the limits were captured before they came; others run as they come first.
TEST_P(CudaBackendTest, steps_that_were_prepared_for_have_the_bits_of_others) {
  constexpr int kPromptTokens = 200;
  constexpr int kCounts[] = {1, 3, 17, 6, 2};
  for (const TestModel& model :
       {random_model(small_shape(), true, true, {}, GetParam().dtype, 12),
        random_model(small_shape(8, 2, 64), false, false, {}, GetParam().dtype, 13)}) {
    const auto tokens = random_tokens(320, model.shape.vocab_size, 14);
    DeviceModel prepared = cuda_model(model, GetParam(), true);
    DeviceModel other = cuda_model(model, GetParam(), true);
    prepared.prepare_steps({1, 17, 256});
    DeviceModel::Stream streams[] = {prepared.open(tokens), other.open(tokens)};
    prepared.step({{&streams[0], kPromptTokens}});
    other.step({{&streams[1], kPromptTokens}});
    for (const int count : kCounts) {
      const auto got = prepared.step({{&streams[0], count}});
      EXPECT_TRUE(prepared.ran_prepared()) << count << " tokens";
      EXPECT_EQ(got, other.step({{&streams[1], count}})) << count << " tokens";
      EXPECT_FALSE(other.ran_prepared()) << count << " tokens";
    }
    while (streams[0].num_done < 256) prepared.step({{&streams[0], 1}});
    prepared.step({{&streams[0], 1}});  // a second chunk of attention
    EXPECT_FALSE(prepared.ran_prepared());
  }
}

// In decodes attention itself rotates and appends.
TEST_P(CudaBackendTest, decoding_gives_the_bits_of_one_step) {
  const DType dtype = GetParam().dtype;
  const TestModel models[] = {
      random_model(small_shape(4, 4, 16), true, true, {}, dtype, 12),
      random_model(small_shape(8, 1, 64), false, false, 20, dtype, 13),
      random_model(small_shape(2, 1, 112), false, true, {}, dtype, 14),
      random_model(small_shape(4, 2, 128), false, true, {}, dtype, 17),
      random_model(small_shape(2, 2, 256), false, false, {}, dtype, 15),
  };
  for (const TestModel& model : models) {
    constexpr int kTokens = 50;
    const auto tokens = random_tokens(kTokens, model.shape.vocab_size, 16);
    DeviceModel alone = cuda_model(model, GetParam(), true);
    auto stream = alone.open(tokens);
    const auto whole = alone.step({{&stream, kTokens}});
    DeviceModel device = cuda_model(model, GetParam(), true);
    ASSERT_NO_FATAL_FAILURE(expect_same_bits(device, tokens, whole, {0, 1, 0}));
  }
}

/// Decodes and prompts of one step, in any order, go through kernels of their own.
TEST_P(CudaBackendTest, decodes_beside_prompts_have_the_bits_of_one_step) {
  const DType dtype = GetParam().dtype;
  constexpr int kStreams = 5;
  constexpr int kTokens = 300;  // the steps cross into a second chunk of attention
  for (const TestModel& model :
       {random_model(small_shape(8, 2, 64), false, true, {}, dtype, 21),
        random_model(small_shape(4, 1, 128), true, false, 70, dtype, 22)}) {
    DeviceModel device = cuda_model(model, GetParam(), true);
    std::vector<DeviceModel::Stream> streams;
    std::vector<std::vector<std::vector<float>>> whole;  // each in one step, alone
    for (std::uint64_t s = 0; s < kStreams; ++s) {
      streams.push_back(device.open(random_tokens(kTokens, model.shape.vocab_size, 30 + s)));
      DeviceModel alone = cuda_model(model, GetParam(), true);
      auto stream = alone.open(streams.back().tokens);
      whole.push_back(alone.step({{&stream, kTokens}}));
    }
    RandomStream random(23);
    for (auto& stream : streams)
      device.step({{&stream, 1 + static_cast<int>(random.below(kTokens / 2))}});
    for (std::size_t step = 0; step < 12; ++step) {
      std::vector<std::pair<DeviceModel::Stream*, int>> parts;
      std::vector<int> first;
      for (std::size_t i = 0; i < kStreams; ++i) {
        DeviceModel::Stream& stream = streams[(i * 3 + step) % kStreams];
        constexpr int kCounts[] = {1, 1, 5, 17, 40};  // decodes, few tokens, a prompt's chunk
        const int count =
            std::min(kTokens - stream.num_done, kCounts[random.below(std::size(kCounts))]);
        if (count == 0) continue;
        parts.emplace_back(&stream, count);
        first.push_back(stream.num_done);
      }
      const auto got = device.step(parts);
      std::size_t row = 0;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const auto s = static_cast<std::size_t>(parts[i].first - streams.data());
        for (int t = first[i]; t < first[i] + parts[i].second; ++t, ++row)
          ASSERT_EQ(got[row], whole[s][static_cast<std::size_t>(t)])
              << "stream " << s << ", token " << t << ", step " << step;
      }
    }
  }
}

/// Another stream takes its blocks meanwhile.
TEST_P(CudaBackendTest, a_stream_that_was_on_the_host_goes_on_with_the_same_bits) {
  const TestModel model =
      random_model(small_shape(4, 2, 64), false, false, {}, GetParam().dtype, 18);
  constexpr int kPromptTokens = 270;
  constexpr int kTokens = 290;
  const auto tokens = random_tokens(kTokens, model.shape.vocab_size, 19);
  std::vector<std::vector<float>> whole;
  {
    DeviceModel alone = cuda_model(model, GetParam(), true);
    auto stream = alone.open(tokens);
    whole = alone.step({{&stream, kTokens}});
  }
  DeviceModel device = cuda_model(model, GetParam(), true);
  auto stream = device.open(tokens);
  device.step({{&stream, kPromptTokens}});
  const auto blocks = stream.blocks;
  device.put_away(stream);
  auto other = device.open(random_tokens(400, model.shape.vocab_size, 20));
  ASSERT_TRUE(std::ranges::includes(std::set(other.blocks.begin(), other.blocks.end()),
                                    std::set(blocks.begin(), blocks.end())));
  device.step({{&other, 390}});
  device.bring_back(stream);
  while (stream.num_done < kTokens) {
    const auto first = static_cast<std::size_t>(stream.num_done);
    const auto got = device.step({{&stream, 1}});
    ASSERT_EQ(got[0], whole[first]) << "token " << first;
  }
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const auto& traits : kWeightFormats) cases.push_back({dtype, dtype, traits.format});
    for (const DType kv : {DType::kF32, DType::kF16, DType::kBF16, DType::kI8, DType::kF8E4M3}) {
      if (kv != dtype) cases.push_back({dtype, kv});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(EveryFormat, CudaBackendTest, testing::ValuesIn(all_cases()),
                         [](const auto& info) { return name_of(info.param); });

class CudaPrecision : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

TEST_P(CudaPrecision, logits_match_the_double_reference) {
  const TestModel model = random_model(small_shape(), true, true, {}, GetParam(), 1);
  DeviceModel gpu = cuda_model(model, {GetParam(), GetParam()});
  auto stream = gpu.open(random_tokens(300, model.shape.vocab_size, 5));
  const auto want = reference_logits(model, stream.tokens);
  const auto got = gpu.step({{&stream, 300}});
  for (std::size_t t = 0; t < want.size(); ++t)
    ASSERT_LT(relative_error(got[t], want[t]), tolerance(GetParam())) << "token " << t;
}

INSTANTIATE_TEST_SUITE_P(EveryDtype, CudaPrecision,
                         testing::Values(DType::kF32, DType::kF16, DType::kBF16),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

class CudaErrors : public testing::Test {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

TEST_F(CudaErrors, a_cache_larger_than_the_gpu_is_refused_in_one_line) {
  const auto backend = make_cuda_backend({0, 1, DType::kBF16});
  try {
    static_cast<void>(backend->make_kv_cache({100, 1 << 24, 16, 8, 128, DType::kBF16}));
    ADD_FAILURE() << "the GPU took it";
  } catch (const ResourceError& error) {
    EXPECT_NE(std::string(error.what()).find("the KV cache needs"), std::string::npos);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
  }
}

TEST_F(CudaErrors, head_sizes_without_a_kernel_are_refused) {
  const auto backend = make_cuda_backend({0, 1, DType::kBF16});
  EXPECT_THROW(backend->make_kv_cache({1, 4, 16, 1, 24, DType::kBF16}), InputError);
  EXPECT_THROW(backend->make_kv_cache({1, 4, 16, 1, 272, DType::kBF16}), InputError);
  EXPECT_THROW(backend->make_kv_cache({1, 4, 10, 1, 32, DType::kBF16}), InputError);
}

TEST_F(CudaErrors, a_gpu_that_is_not_there_is_refused) {
  EXPECT_THROW(make_cuda_backend({1 << 10, 1, DType::kBF16}), InputError);
}

/// Sets IOL_CUDA_KERNELS for the length of a test.
struct KernelLevel {
  explicit KernelLevel(const char* level) { ::setenv("IOL_CUDA_KERNELS", level, 1); }
  ~KernelLevel() { ::unsetenv("IOL_CUDA_KERNELS"); }
};

TEST_F(CudaErrors, portable_kernels_give_the_same_bits) {
  const TestModel model = random_model(small_shape(), true, false, {}, DType::kBF16, 9);
  const auto tokens = random_tokens(200, model.shape.vocab_size, 10);
  const auto logits = [&] {
    DeviceModel gpu = cuda_model(model, {DType::kBF16, DType::kBF16}, true);
    auto stream = gpu.open(tokens);
    return gpu.step({{&stream, 200}});
  };
  const auto chosen = logits();
  const KernelLevel portable("portable");
  EXPECT_EQ(logits(), chosen);
}

TEST_F(CudaErrors, an_unknown_kernel_level_is_refused) {
  const KernelLevel unknown("sm_80");
  try {
    make_cuda_backend({0, 1, DType::kBF16});
    FAIL() << "it was accepted";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "IOL_CUDA_KERNELS is 'sm_80'; expected auto or portable");
  }
}

}  // namespace
}  // namespace iol::test
