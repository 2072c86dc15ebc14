// Checkpoints that compressed-tensors, AutoAWQ, AutoGPTQ and ModelOpt wrote: the weights that their
// own code unpacks, bit for bit, and the logits that transformers computes with them.
#include "quantization/quantized_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "backend/quantize_row.h"
#include "base/error.h"
#include "base/sha256.h"
#include "engine/loaded_model.h"
#include "engine/scorer.h"
#include "model/memory_plan.h"
#include "tests/message_of.h"
#include "tests/quantization/edited_checkpoint.h"

namespace iol::test {
namespace {

using testing::HasSubstr;

struct Subject {
  std::string name;
  WeightFormat format;
  int group_size = kDefaultGroupSize;
  std::size_t num_kept = 0;  // of the layers' matrices
  WeightFormat head = WeightFormat::kNone;
};

const std::vector<Subject> kSubjects = {
    {"ct-fp8-dynamic", WeightFormat::kFp8},
    {"ct-fp8-static", WeightFormat::kFp8},
    {"ct-w8a8", WeightFormat::kInt8},
    {"ct-w8a8-tensor", WeightFormat::kInt8},
    {"ct-w8a16", WeightFormat::kInt8WeightOnly},
    {"ct-w4a16", WeightFormat::kInt4, 32},
    {"ct-w4a16-channel", WeightFormat::kInt4, 0},
    {"ct-w4a16-asymmetric", WeightFormat::kInt4, 64, 2},
    {"ct-w4a16-act-order", WeightFormat::kInt4, 32, 3},
    {"awq", WeightFormat::kInt4, 32},
    {"awq-rows", WeightFormat::kInt4, 0, 2},
    {"gptq", WeightFormat::kInt4, 32},
    {"gptq-rows", WeightFormat::kInt4, 0},
    {"gptq-asymmetric", WeightFormat::kInt4, 32, 0, WeightFormat::kInt4},
    {"gptq-act-order", WeightFormat::kInt4, 32},
    {"gptq-v2", WeightFormat::kInt4, 32},
    {"gptq-8bit", WeightFormat::kInt8WeightOnly},
    {"fp8-dynamic", WeightFormat::kFp8},
    {"fp8-static", WeightFormat::kFp8},
    {"fp8-channel", WeightFormat::kFp8},
    {"fp8-inverse-name", WeightFormat::kFp8},
    {"modelopt-fp8", WeightFormat::kFp8},
    {"modelopt-fp8-config", WeightFormat::kFp8},
};

nlohmann::json golden_of(const std::string& name) {
  return nlohmann::json::parse(std::ifstream(kQuantizedGoldens / name / "golden.json"));
}

/// SHA-256 of the dequantized matrix [N, K] in f32, columns in the order of the inputs.
std::string hash_of_weights(const HostTensor& tensor) {
  const QuantizedTensor& quantized = *tensor.quantized;
  const std::int64_t columns = tensor.shape[1];
  Sha256 hash;
  QuantizedRow row;
  std::vector<float> stored(static_cast<std::size_t>(columns));
  std::vector<float> weights(stored.size());
  for (std::int64_t n = 0; n < tensor.shape[0]; ++n) {
    read_row(quantized, n, columns, row);
    dequantize_row(quantized.format, quantized.group_size, row, stored);
    for (std::size_t j = 0; j < stored.size(); ++j) {
      const std::size_t k =
          quantized.input_order == nullptr ? j : static_cast<std::size_t>(quantized.input_order[j]);
      weights[k] = stored[j];
    }
    hash.add(std::as_bytes(std::span(weights)));
  }
  return hash.hexadecimal();
}

/// Root mean square of the difference over that of the golden logits, all positions.
double relative_difference(const std::filesystem::path& folder, const nlohmann::json& golden) {
  EngineConfig config;
  config.model = folder.string();
  config.dtype = DType::kF32;
  config.num_threads = 2;
  LoadedModel model = load_model(config);
  const auto prompt = golden.at("prompt").get<std::vector<std::int32_t>>();
  const auto& want = golden.at("logits");
  Scorer scorer(model, static_cast<int>(prompt.size()));
  double error = 0;
  double norm = 0;
  scorer.score(prompt, [&](const Scorer::Rows& rows) {
    for (int i = 0; i < rows.count; ++i) {
      const auto row = rows.logits(i);
      for (std::size_t v = 0; v < row.size(); ++v) {
        const double expected = want[static_cast<std::size_t>(rows.first_position + i)][v];
        error += (row[v] - expected) * (row[v] - expected);
        norm += expected * expected;
      }
    }
  });
  return std::sqrt(error / norm);
}

/// What the format's activations may cost. Rounding to a grid of step s is an error of s / sqrt(12)
/// on average: int8 of a row whose largest number is 3.5 of its deviations, 3.5 / 127 / sqrt(12);
/// E4M3 at most 2^-4 / sqrt(3) relative. Eight roundings (four in each of two layers) add up as a
/// random walk; softmax and SwiGLU may treble that.
double tolerance(WeightFormat format) {
  const double walk = 3 * std::sqrt(8.0);
  if (format == WeightFormat::kInt8WeightOnly) return 500 * 0x1p-24;  // f32 on both sides
  if (format == WeightFormat::kFp8) return walk * 0x1p-4 / std::sqrt(3.0);
  return walk * 3.5 / 127 / std::sqrt(12.0);
}

class QuantizedCheckpointTest : public testing::TestWithParam<Subject> {
 protected:
  [[nodiscard]] static std::filesystem::path folder() {
    return kQuantizedGoldens / GetParam().name;
  }
};

TEST_P(QuantizedCheckpointTest, says_how_it_is_quantized) {
  const auto quantization = open_checkpoint(folder())->quantization();
  ASSERT_TRUE(quantization.has_value());
  EXPECT_EQ(quantization->format, GetParam().format);
  EXPECT_EQ(quantization->group_size, GetParam().group_size);
  EXPECT_EQ(quantization->keep.size(), GetParam().num_kept);
  EXPECT_EQ(quantization->head, GetParam().head);
}

TEST_P(QuantizedCheckpointTest, weights_equal_those_that_the_package_unpacks_bit_for_bit) {
  const auto source = open_checkpoint(folder());
  const auto golden = golden_of(GetParam().name);
  ASSERT_GE(golden.at("weights").size(), 11U);
  for (const auto& [name, hash] : golden.at("weights").items()) {
    const auto lease = source->lease(name);
    ASSERT_NE(lease->tensor().quantized, nullptr) << name;
    EXPECT_EQ(hash_of_weights(lease->tensor()), hash) << name;
  }
}

TEST_P(QuantizedCheckpointTest, what_is_left_out_is_plain) {
  const auto source = open_checkpoint(folder());
  const auto weights = golden_of(GetParam().name).at("weights");
  const auto quantization = source->quantization().value();
  for (const auto& name : quantization.keep) {
    EXPECT_FALSE(weights.contains(name));
    EXPECT_EQ(source->lease(name)->tensor().quantized, nullptr);
  }
  const std::size_t num_heads = weights.contains("lm_head.weight") ? 1 : 0;
  EXPECT_EQ(quantization.keep.size() + weights.size() - num_heads, 14U);
  EXPECT_EQ(source->lease("model.embed_tokens.weight")->tensor().quantized, nullptr);
}

TEST_P(QuantizedCheckpointTest, logits_agree_with_transformers_on_the_same_weights) {
  const double difference = relative_difference(folder(), golden_of(GetParam().name));
  RecordProperty("relative_difference", std::to_string(difference));
  EXPECT_LT(difference, tolerance(GetParam().format));
}

TEST_P(QuantizedCheckpointTest, the_model_reports_its_format_and_takes_the_memory_of_the_plan) {
  EngineConfig config;
  config.model = folder().string();
  config.num_threads = 2;
  const LoadedModel model = load_model(config);
  EXPECT_EQ(model.quant.format, GetParam().format);
  EXPECT_EQ(model.dtype, model.config.dtype);
  const double planned = static_cast<double>(weight_bytes(model.config, model.dtype, model.quant));
  // An order of columns is not in the plan: 4 bytes for each of them.
  EXPECT_NEAR(static_cast<double>(model.weights.size_bytes()), planned, 0.05 * planned);
}

INSTANTIATE_TEST_SUITE_P(Every, QuantizedCheckpointTest, testing::ValuesIn(kSubjects),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(QuantizedCheckpoint, wrong_orders_scales_and_zero_points_are_seen_in_the_logits) {
  const double allowed = tolerance(WeightFormat::kInt4);
  const auto golden = golden_of("gptq-act-order");
  EditedCheckpoint order("gptq-act-order");  // the right groups, for the wrong columns
  for (auto& [name, tensor] : order.tensors) {
    if (!name.ends_with("g_idx")) continue;
    for (std::int64_t k = 0; k < tensor.shape[0]; ++k)
      tensor.set(static_cast<std::size_t>(k), static_cast<std::int32_t>(k / 32));
  }
  EXPECT_GT(relative_difference(order.save(), golden), 2 * allowed);
  EditedCheckpoint zeros("gptq-act-order");  // off by one
  zeros.settings()["checkpoint_format"] = "gptq_v2";
  EXPECT_GT(relative_difference(zeros.save(), golden), 2 * allowed);
  EditedCheckpoint scales("gptq-act-order");
  for (auto& [name, tensor] : scales.tensors) {
    if (name.ends_with("down_proj.scales")) tensor.bytes.assign(tensor.bytes.size(), '\x2e');
  }
  EXPECT_GT(relative_difference(scales.save(), golden), 2 * allowed);
}

TEST(QuantizedCheckpoint, the_same_format_may_be_asked_for_and_another_is_refused) {
  EngineConfig config;
  config.model = (kQuantizedGoldens / "awq").string();
  config.num_threads = 2;
  config.quant.format = WeightFormat::kInt4;
  EXPECT_EQ(load_model(config).quant.group_size, 32);
  config.quant.group_size = 64;
  EXPECT_THAT(message_of<InputError>([&] { load_model(config); }), HasSubstr("leave out --quant"));
  config.quant.group_size = kDefaultGroupSize;
  config.quant.format = WeightFormat::kFp8;
  EXPECT_THAT(message_of<InputError>([&] { load_model(config); }),
              HasSubstr("holds int4 weights; leave out --quant"));
}

TEST(QuantizedCheckpoint, a_plain_checkpoint_is_opened_as_before) {
  const auto source = open_checkpoint(IOL_SOURCE_DIR "/tests/goldens/models/llama");
  EXPECT_FALSE(source->quantization().has_value());
  EXPECT_FALSE(is_quantized_checkpoint(IOL_SOURCE_DIR "/tests/goldens/models/llama"));
  EXPECT_TRUE(is_quantized_checkpoint(kQuantizedGoldens / "modelopt-fp8"));
}

}  // namespace
}  // namespace iol::test
