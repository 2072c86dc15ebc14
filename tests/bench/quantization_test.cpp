// What quantized weights do to a real model: little, on every instruction set.
#include <gtest/gtest.h>

#include "bench/quality/quality.h"
#include "engine/loaded_model.h"
#include "model/memory_plan.h"
#include "model/resolve.h"
#include "tests/run_iol.h"

namespace iol::test {
namespace {

LoadedModel load(WeightFormat format, std::optional<Isa> isa = std::nullopt) {
  EngineConfig config;
  config.model = "demo";
  config.num_threads = 2;
  config.quant.format = format;
  config.isa = isa;
  return load_model(config);
}

std::vector<std::int32_t> held_out_tokens(const LoadedModel& model) {
  std::ifstream file(*find_shipped("heldout.txt"));
  std::string text(40'000, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  return model.tokenizer->encode(text, false);
}

TEST(Quantization, int8_keeps_the_quality_of_the_demo_model) {
  LoadedModel reference = load(WeightFormat::kNone);
  LoadedModel quantized = load(WeightFormat::kInt8);
  const auto quality = bench::measure_quality(quantized, &reference, held_out_tokens(reference),
                                              {.window_tokens = 512, .max_tokens = 4096});
  EXPECT_GT(*quality.kl_divergence_nats, 1e-6);  // it is another model,
  EXPECT_LT(*quality.kl_divergence_nats, 0.01);  // but barely
  EXPECT_GT(*quality.top1_agreement, 0.95);
}

TEST(Quantization, int8_takes_the_memory_that_was_planned) {
  const LoadedModel model = load(WeightFormat::kInt8);
  EXPECT_EQ(model.weights.size_bytes(), weight_bytes(model.config, model.dtype, model.quant));
  EXPECT_LT(model.weights.size_bytes(),
            0.65 * static_cast<double>(weight_bytes(model.config, model.dtype, {})));
}

TEST(Quantization, int8_is_as_good_on_every_instruction_set) {
  LoadedModel reference = load(WeightFormat::kNone);
  for (const Isa isa : supported_isas()) {
    LoadedModel model = load(WeightFormat::kInt8, isa);
    const auto quality = bench::measure_quality(model, &reference, held_out_tokens(reference),
                                                {.window_tokens = 128, .max_tokens = 256});
    EXPECT_LT(*quality.kl_divergence_nats, 0.01) << isa_name(isa);
  }
}

}  // namespace
}  // namespace iol::test
