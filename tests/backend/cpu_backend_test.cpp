#include "backend/cpu/cpu_backend.h"

#include <gtest/gtest.h>

#include <map>

#include "backend/cpu/kernels_of.h"
#include "base/error.h"
#include "tests/backend/batch_invariance.h"
#include "tests/backend/device_model.h"

namespace iol::test {
namespace {

DeviceModel cpu_model(const TestModel& model, Isa isa, DType dtype, int num_threads,
                      std::optional<DType> kv_dtype = std::nullopt) {
  return {model, make_cpu_backend({isa, num_threads, dtype}),
          DeviceFormats{kv_dtype.value_or(dtype), WeightFormat::kNone, kDefaultGroupSize}};
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
    DeviceModel device = cpu_model(model, GetParam().isa, GetParam().dtype, 2);
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
  DeviceModel device = cpu_model(model, GetParam().isa, GetParam().dtype, 1);
  model.layers[1].down.values[777] += 4.0F;
  auto stream = device.open(random_tokens(20, model.shape.vocab_size, 5));
  const auto want = reference_logits(model, stream.tokens);
  const auto got = device.step({{&stream, 20}});
  EXPECT_GT(relative_error(got[19], want[19]), tolerance(GetParam().dtype));
}

TEST_P(CpuBackendTest, results_do_not_depend_on_batch_chunks_or_threads) {
  constexpr DType kKvFormats[] = {DType::kI8, DType::kF8E4M3};
  const TestModel model = random_model(small_shape(8, 2), true, false, {}, GetParam().dtype, 6);
  constexpr int kTokens = 300;
  const auto tokens = random_tokens(kTokens, model.shape.vocab_size, 7);
  const auto kv_dtype = [&](int trial) {
    return trial < 6 ? GetParam().dtype : kKvFormats[trial % 2];
  };
  std::map<DType, std::vector<std::vector<float>>> whole;  // in one step, alone
  for (const DType kv : {kv_dtype(0), kv_dtype(6), kv_dtype(7)}) {
    DeviceModel alone = cpu_model(model, GetParam().isa, GetParam().dtype, 1, kv);
    auto stream = alone.open(tokens);
    whole[kv] = alone.step({{&stream, kTokens}});
  }
  EXPECT_NE(whole[kv_dtype(0)], whole[kv_dtype(6)]);

  for (int trial = 0; trial < 10; ++trial) {
    DeviceModel device =
        cpu_model(model, GetParam().isa, GetParam().dtype, 1 + trial % 3, kv_dtype(trial));
    ASSERT_NO_FATAL_FAILURE(
        expect_same_bits(device, tokens, whole[kv_dtype(trial)],
                         {static_cast<std::uint64_t>(trial), trial == 0 ? 1 : 60, 7}));
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
