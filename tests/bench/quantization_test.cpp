// What quantized weights do to a real model: little, on every instruction set.
#include <gtest/gtest.h>

#include "base/error.h"
#include "bench/quality/quality.h"
#include "engine/loaded_model.h"
#include "model/memory_plan.h"
#include "model/resolve.h"
#include "tests/run_iol.h"

namespace iol::test {
namespace {

LoadedModel load(const Quantization& quantization, std::optional<Isa> isa = std::nullopt) {
  EngineConfig config;
  config.model = "demo";
  config.num_threads = 2;
  config.quant = quantization;
  config.isa = isa;
  return load_model(config);
}

/// A format with the distance from the unquantized model that is too much for it, and the size that
/// it must stay under.
struct Expected {
  Quantization quantization;
  double most_kl;
  double most_size;  // of the unquantized weights, tied embedding included
};

const Expected kExpected[] = {{{WeightFormat::kInt8}, 0.01, 0.65},
                              {{WeightFormat::kInt8WeightOnly}, 0.002, 0.65},
                              {{WeightFormat::kFp8}, 0.02, 0.65},
                              {{WeightFormat::kInt4}, 0.10, 0.47},
                              {{WeightFormat::kInt4, 32}, 0.06, 0.5},
                              {{WeightFormat::kInt8, 128, WeightFormat::kInt8}, 0.02, 0.55}};

std::vector<std::int32_t> held_out_tokens(const LoadedModel& model) {
  std::ifstream file(*find_shipped("heldout.txt"));
  std::string text(40'000, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  return model.tokenizer->encode(text, false);
}

TEST(Quantization, every_format_keeps_the_quality_of_the_demo_model) {
  LoadedModel reference = load({});
  for (const auto& expected : kExpected) {
    LoadedModel quantized = load(expected.quantization);
    const auto quality = bench::measure_quality(quantized, &reference, held_out_tokens(reference),
                                                {.window_tokens = 512, .max_tokens = 2048});
    SCOPED_TRACE(weight_format_name(expected.quantization.format));
    EXPECT_GT(*quality.kl_divergence_nats, 1e-6);              // it is another model,
    EXPECT_LT(*quality.kl_divergence_nats, expected.most_kl);  // but barely
  }
}

TEST(Quantization, every_format_takes_the_memory_that_was_planned) {
  const LoadedModel reference = load({});
  for (const auto& expected : kExpected) {
    const LoadedModel model = load(expected.quantization);
    SCOPED_TRACE(weight_format_name(expected.quantization.format));
    EXPECT_EQ(model.weights.size_bytes(),
              weight_bytes(model.config, model.dtype, expected.quantization));
    EXPECT_LT(static_cast<double>(model.weights.size_bytes()),
              expected.most_size * static_cast<double>(reference.weights.size_bytes()));
  }
}

TEST(Quantization, every_format_is_as_good_on_every_instruction_set) {
  LoadedModel reference = load({});
  for (const Isa isa : supported_isas()) {
    for (const auto& expected : kExpected) {
      LoadedModel model = load(expected.quantization, isa);
      const auto quality = bench::measure_quality(model, &reference, held_out_tokens(reference),
                                                  {.window_tokens = 128, .max_tokens = 128});
      EXPECT_LT(*quality.kl_divergence_nats, 1.5 * expected.most_kl)
          << isa_name(isa) << ", " << weight_format_name(expected.quantization.format);
    }
  }
}

TEST(Quantization, kept_tensors_stay_as_they_are) {
  const LoadedModel reference = load({});
  Quantization quantization{WeightFormat::kInt8};
  quantization.keep = {"layers.0.", "down_proj"};
  const LoadedModel model = load(quantization);
  EXPECT_EQ(model.weights.layers[0].qkv->dtype(), DType::kBF16);
  EXPECT_EQ(model.weights.layers[1].qkv->dtype(), DType::kI8);
  EXPECT_EQ(model.weights.layers[1].down->dtype(), DType::kBF16);
  EXPECT_EQ(model.weights.layers[1].gate_up->dtype(), DType::kI8);
}

TEST(Quantization, a_group_that_does_not_divide_is_refused) {
  Quantization quantization{WeightFormat::kInt4, 256};  // the demo model's rows have 384 columns
  try {
    load(quantization);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("groups of 256"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace iol::test
