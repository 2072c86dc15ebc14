// What a quantized KV cache does to a real model: little, on every instruction set and however its
// blocks are handed out.
#include <gtest/gtest.h>

#include "base/mapped_file.h"
#include "bench/quality/quality.h"
#include "engine/loaded_model.h"
#include "model/resolve.h"

namespace iol::bench {
namespace {

struct Bounds {
  DType kv_dtype;
  double kl_divergence;
  double perplexity_change;  // the targets, over the whole text
};
constexpr Bounds kBounds[] = {{DType::kI8, 0.0005, 0.001}, {DType::kF8E4M3, 0.004, 0.003}};

LoadedModel load(std::optional<DType> kv_dtype, std::optional<Isa> isa = std::nullopt) {
  EngineConfig config;
  config.model = "demo";
  config.num_threads = 2;
  config.kv_dtype = kv_dtype;
  config.isa = isa;
  return load_model(config);
}

std::vector<std::int32_t> held_out_tokens(const LoadedModel& model) {
  const MappedFile file(*find_shipped("heldout.txt"));
  const auto bytes = file.bytes().first(40'000);
  return model.tokenizer->encode({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                                 false);
}

TEST(KvCacheQuality, stays_within_its_bounds_on_the_demo_model) {
  LoadedModel reference = load(std::nullopt);
  const auto tokens = held_out_tokens(reference);
  const QualityOptions options{.window_tokens = 2048, .max_tokens = 4096};
  const auto unquantized = measure_quality(reference, nullptr, tokens, options);
  for (const auto& bounds : kBounds) {
    SCOPED_TRACE(kv_format_name(bounds.kv_dtype));
    LoadedModel model = load(bounds.kv_dtype);
    const auto quality = measure_quality(model, &reference, tokens, options);
    EXPECT_GT(*quality.kl_divergence_nats, 1e-6);  // it is another cache
    EXPECT_LT(*quality.kl_divergence_nats, bounds.kl_divergence);
    EXPECT_LT(quality.perplexity, (1 + bounds.perplexity_change) * unquantized.perplexity);
  }
}

TEST(KvCacheQuality, is_the_same_on_every_instruction_set) {
  LoadedModel reference = load(std::nullopt);
  const auto tokens = held_out_tokens(reference);
  for (const auto& bounds : kBounds) {
    for (const Isa isa : supported_isas()) {
      LoadedModel model = load(bounds.kv_dtype, isa);
      const auto quality =
          measure_quality(model, &reference, tokens, {.window_tokens = 256, .max_tokens = 512});
      EXPECT_LT(*quality.kl_divergence_nats, bounds.kl_divergence) << isa_name(isa);
    }
  }
}

}  // namespace
}  // namespace iol::bench
