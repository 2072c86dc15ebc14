// Quantized checkpoints that are damaged, incomplete or contradict their settings: one line each,
// which names the tensor.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "backend/cpu/cpu_backend.h"
#include "base/error.h"
#include "model/weights.h"
#include "quantization/quantized_checkpoint.h"
#include "tests/message_of.h"
#include "tests/quantization/edited_checkpoint.h"

namespace iol::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const std::string kQuery = "model.layers.0.self_attn.q_proj.";
const std::string kKey = "model.layers.0.self_attn.k_proj.";
const std::string kDown = "model.layers.1.mlp.down_proj.";
constexpr std::uint16_t kF16Infinity = 0x7c00;
constexpr std::uint16_t kBf16Nan = 0x7fc0;

/// The error of loading everything.
std::string error_of(const std::filesystem::path& folder) {
  return message_of<InputError>([&] {
    const ModelConfig config = load_model_config(folder);
    const auto source = open_checkpoint(folder);
    const auto backend = make_cpu_backend({std::nullopt, 1, config.dtype});
    load_weights(config, *source, *backend, source->quantization().value_or(Quantization()));
  });
}

struct BadCheckpoint {
  std::string name;
  std::string golden;
  std::function<void(EditedCheckpoint&)> edit;
  std::vector<std::string> says;
};

using Edited = EditedCheckpoint&;

void drop(Edited checkpoint, const std::string& tensor) {
  ASSERT_EQ(checkpoint.tensors.erase(tensor), 1U) << tensor;
}

/// Keeps the bytes.
void reshape(Edited checkpoint, const std::string& tensor, std::vector<std::int64_t> shape) {
  checkpoint.at(tensor).shape = std::move(shape);
}

const std::vector<BadCheckpoint> kMissing = {
    {"awq_scales",
     "awq",
     [](Edited c) { drop(c, kQuery + "scales"); },
     {kQuery + "scales", "missing"}},
    {"awq_zeros",
     "awq",
     [](Edited c) { drop(c, kDown + "qzeros"); },
     {kDown + "qzeros", "missing"}},
    {"awq_weight",
     "awq",
     [](Edited c) { drop(c, kQuery + "qweight"); },
     {kQuery + "qweight", "missing"}},
    {"gptq_scales",
     "gptq",
     [](Edited c) { drop(c, kQuery + "scales"); },
     {kQuery + "scales", "missing"}},
    {"gptq_zeros",
     "gptq",
     [](Edited c) { drop(c, kQuery + "qzeros"); },
     {kQuery + "qzeros", "missing"}},
    {"gptq_order",
     "gptq-act-order",
     [](Edited c) { drop(c, kQuery + "g_idx"); },
     {kQuery + "g_idx", "missing"}},
    {"gptq_weight",
     "gptq",
     [](Edited c) { drop(c, kQuery + "qweight"); },
     {kQuery + "qweight", "missing"}},
    {"packed_weight",
     "ct-w4a16",
     [](Edited c) { drop(c, kQuery + "weight_packed"); },
     {kQuery + "weight_packed", "missing"}},
    {"packed_shape",
     "ct-w4a16",
     [](Edited c) { drop(c, kQuery + "weight_shape"); },
     {kQuery + "weight_shape", "missing"}},
    {"packed_scale",
     "ct-w4a16",
     [](Edited c) { drop(c, kQuery + "weight_scale"); },
     {kQuery + "weight_scale", "missing"}},
    {"packed_zero",
     "ct-w4a16-asymmetric",
     [](Edited c) { drop(c, kQuery + "weight_zero_point"); },
     {kQuery + "weight_zero_point", "missing"}},
    {"float_scale",
     "ct-fp8-dynamic",
     [](Edited c) { drop(c, kQuery + "weight_scale"); },
     {kQuery + "weight_scale", "missing"}},
    {"float_weight",
     "ct-fp8-dynamic",
     [](Edited c) { drop(c, kQuery + "weight"); },
     {kQuery + "weight", "missing"}},
    {"fp8_scale",
     "fp8-dynamic",
     [](Edited c) { drop(c, kQuery + "weight_scale"); },
     {kQuery + "weight_scale", "missing"}},
    {"modelopt_scale",
     "modelopt-fp8",
     [](Edited c) { drop(c, kQuery + "weight_scale"); },
     {kQuery + "weight_scale", "missing"}},
};

const std::vector<BadCheckpoint> kShapes = {
    {"awq_scales",
     "awq",
     [](Edited c) {
       reshape(c, kQuery + "scales", {4, 32});
     },
     {kQuery + "scales", "[4, 32]", "[2, 64]"}},
    {"awq_zeros",
     "awq",
     [](Edited c) {
       reshape(c, kQuery + "qzeros", {1, 16});
     },
     {kQuery + "qzeros", "[1, 16]", "[2, 8]"}},
    {"awq_weight",
     "awq",
     [](Edited c) { reshape(c, kQuery + "qweight", {512}); },
     {kQuery + "qweight", "a matrix of i32"}},
    {"awq_other_weight",
     "awq",
     [](Edited c) {
       reshape(c, kQuery + "qweight", {32, 16});
     },
     {kQuery + "qzeros", "[1, 16]"}},
    {"awq_group",
     "awq",
     [](Edited c) { c.settings()["group_size"] = 48; },
     {kQuery + "qweight", "groups of 48 don't divide"}},
    {"gptq_scales",
     "gptq",
     [](Edited c) {
       reshape(c, kQuery + "scales", {64, 2});
     },
     {kQuery + "scales", "[2, 64]"}},
    {"gptq_zeros",
     "gptq",
     [](Edited c) { reshape(c, kQuery + "qzeros", {16}); },
     {kQuery + "qzeros", "a matrix"}},
    {"gptq_order",
     "gptq",
     [](Edited c) {
       reshape(c, kQuery + "g_idx", {8, 8});
     },
     {kQuery + "g_idx", "i32 [64]"}},
    {"gptq_group",
     "gptq",
     [](Edited c) { c.settings()["group_size"] = 48; },
     {kQuery + "qweight", "groups of 48 don't divide"}},
    {"gptq_other_group",
     "gptq",
     [](Edited c) { c.settings()["group_size"] = 64; },
     {kQuery + "scales", "[1, 64]"}},
    {"gptq_bits",
     "gptq",
     [](Edited c) {
       c.settings()["bits"] = 8;
       c.settings()["group_size"] = -1;
     },
     {kQuery + "scales", "[1, 64]"}},
    {"packed_shape",
     "ct-w4a16",
     [](Edited c) { c.at(kQuery + "weight_shape").set<std::int64_t>(1, 128); },
     {kQuery + "weight_shape", "[64, 128]"}},
    {"packed_shape_of_none",
     "ct-w4a16",
     [](Edited c) { c.at(kQuery + "weight_shape").set<std::int64_t>(0, -64); },
     {kQuery + "weight_shape", "[-64, 64]"}},
    {"packed_scales",
     "ct-w4a16",
     [](Edited c) {
       reshape(c, kQuery + "weight_scale", {128, 1});
     },
     {kQuery + "weight_scale", "[64, 2]"}},
    {"packed_zeros",
     "ct-w4a16-asymmetric",
     [](Edited c) {
       reshape(c, kQuery + "weight_zero_point", {4, 2});
     },
     {kQuery + "weight_zero_point", "[8, 1]"}},
    {"packed_group",
     "ct-w4a16",
     [](Edited c) { c.settings()["config_groups"]["group_0"]["weights"]["group_size"] = 48; },
     {kQuery + "weight_packed", "groups of 48 don't divide"}},
    {"float_scales",
     "ct-fp8-dynamic",
     [](Edited c) {
       reshape(c, kQuery + "weight_scale", {32, 2});
     },
     {kQuery + "weight_scale", "one for each of the 64 rows"}},
    {"fp8_weight",
     "fp8-dynamic",
     [](Edited c) { reshape(c, kQuery + "weight", {4096}); },
     {kQuery + "weight", "a matrix of"}},
    {"fp8_other_weight",
     "fp8-dynamic",
     [](Edited c) {
       reshape(c, kQuery + "weight", {32, 128});
     },
     {kQuery + "weight", "[32, 128]", "config.json implies [64, 64]"}},
};

const std::vector<BadCheckpoint> kContents = {
    {"awq_infinite_scale",
     "awq",
     [](Edited c) { c.at(kQuery + "scales").set(7, kF16Infinity); },
     {kQuery + "scales", "NaN or infinity"}},
    {"gptq_infinite_scale",
     "gptq",
     [](Edited c) { c.at(kDown + "scales").set(0, kF16Infinity); },
     {kDown + "scales", "NaN or infinity"}},
    {"packed_nan_scale",
     "ct-w4a16",
     [](Edited c) { c.at(kQuery + "weight_scale").set(3, kBf16Nan); },
     {kQuery + "weight_scale", "NaN or infinity"}},
    {"fp8_nan_scale",
     "fp8-dynamic",
     [](Edited c) {
       c.at(kQuery + "weight_scale").set(0, std::numeric_limits<float>::quiet_NaN());
     },
     {kQuery + "weight_scale", "NaN or infinity"}},
    {"fp8_nan_weight",
     "fp8-dynamic",
     [](Edited c) { c.at(kQuery + "weight").set<std::uint8_t>(99, 0xff); },
     {kQuery + "weight", "holds NaN"}},
    {"gptq_group_too_large",
     "gptq-act-order",
     [](Edited c) { c.at(kQuery + "g_idx").set<std::int32_t>(5, 2); },
     {kQuery + "g_idx", "names group 2, but there are 2"}},
    {"gptq_group_negative",
     "gptq-act-order",
     [](Edited c) { c.at(kQuery + "g_idx").set<std::int32_t>(5, -1); },
     {kQuery + "g_idx", "names group -1"}},
    {"gptq_groups_uneven",
     "gptq",
     [](Edited c) { c.at(kQuery + "g_idx").set<std::int32_t>(0, 1); },
     {kQuery + "g_idx", "31 columns to group 0", "--quant"}},
    {"gptq_orders_differ",
     "gptq-act-order",
     [](Edited c) {
       auto& order = c.at(kKey + "g_idx");
       const auto first = order.get<std::int32_t>(0);
       std::size_t other = 1;
       while (order.get<std::int32_t>(other) == first) ++other;
       order.set(0, order.get<std::int32_t>(other));
       order.set(other, first);
     },
     {kQuery + "weight", kKey + "weight", "different orders (GPTQ's act-order)", "--quant"}},
    {"gptq_8bit_with_zero_points",
     "gptq-8bit",
     [](Edited c) { c.at(kQuery + "qzeros").set<std::uint8_t>(3, 90); },
     {kQuery + "qzeros", "other than 128", "--quant"}},
    {"packed_group_too_large",
     "ct-w4a16-act-order",
     [](Edited c) { c.at(kQuery + "weight_g_idx").set<std::int32_t>(1, 77); },
     {kQuery + "weight_g_idx", "names group 77"}},
};

const std::vector<BadCheckpoint> kContradictions = {
    {"awq_dtype",
     "awq",
     [](Edited c) { c.at(kQuery + "qweight").dtype = "F32"; },
     {kQuery + "qweight", "f32", "expected a matrix of i32"}},
    {"awq_scale_dtype",
     "awq",
     [](Edited c) { c.at(kQuery + "scales").dtype = "I16"; },
     {kQuery + "scales", "i16", "expected f32, f16 or bf16"}},
    {"gptq_order_dtype",
     "gptq",
     [](Edited c) { c.at(kQuery + "g_idx").dtype = "F32"; },
     {kQuery + "g_idx", "f32", "expected i32"}},
    {"int8_instead_of_fp8",
     "ct-fp8-dynamic",
     [](Edited c) { c.at(kQuery + "weight").dtype = "I8"; },
     {kQuery + "weight", "i8"}},
    {"plain_though_quantized",
     "ct-w8a8",
     [](Edited c) { c.settings()["ignore"] = nlohmann::json::array(); },
     {"lm_head.weight", "says that it is quantized"}},
    {"quantized_though_ignored",
     "ct-w8a8",
     [](Edited c) { c.settings()["ignore"].push_back("re:.*[.]q_proj"); },
     {kQuery + "weight", "is quantized, but"}},
    {"one_of_three_is_plain",
     "awq",
     [](Edited c) {
       auto weight = c.at(kQuery + "qweight");
       drop(c, kQuery + "qweight");
       weight.dtype = "F16";
       weight.shape = {64, 64};
       weight.bytes.assign(std::size_t{64} * 64 * 2, '\0');
       c.tensors[kQuery + "weight"] = weight;
     },
     {"quantized differently"}},
    {"nothing_is_quantized",
     "fp8-dynamic",
     [](Edited c) {
       for (auto& [name, tensor] : c.tensors) {
         if (tensor.dtype == "F8_E4M3") tensor.dtype = "U8";
       }
     },
     {"no matrix of its layers is", "remove quantization_config"}},
    {"two_formats",
     "ct-w8a8",
     [](Edited c) {
       auto& groups = c.settings()["config_groups"];
       groups["group_1"] = groups["group_0"];
       groups["group_1"]["targets"] = {"re:.*mlp.*"};
       groups["group_1"]["input_activations"] = nullptr;
     },
     {"model.layers.0.mlp.gate_proj.weight", "int8-wo", "others as int8", "--quant"}},
    {"scaled_inputs",
     "modelopt-fp8",
     [](Edited c) {
       c.tensors[kQuery + "pre_quant_scale"] = {"F32", {64}, std::string(256, '\0')};
     },
     {kQuery + "pre_quant_scale", "--quant"}},
};

class RefusedCheckpoint : public testing::TestWithParam<BadCheckpoint> {};

TEST_P(RefusedCheckpoint, in_one_line_that_says_which_tensor) {
  EditedCheckpoint checkpoint(GetParam().golden);
  GetParam().edit(checkpoint);
  const std::string error = error_of(checkpoint.save());
  for (const auto& text : GetParam().says) EXPECT_THAT(error, HasSubstr(text));
  EXPECT_THAT(error, Not(HasSubstr("\n")));
}

const auto kName = [](const auto& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(Missing, RefusedCheckpoint, testing::ValuesIn(kMissing), kName);
INSTANTIATE_TEST_SUITE_P(Shapes, RefusedCheckpoint, testing::ValuesIn(kShapes), kName);
INSTANTIATE_TEST_SUITE_P(Contents, RefusedCheckpoint, testing::ValuesIn(kContents), kName);
INSTANTIATE_TEST_SUITE_P(Contradictions, RefusedCheckpoint, testing::ValuesIn(kContradictions),
                         kName);

TEST(EditedCheckpoint, loads_when_nothing_is_changed) {
  for (const auto* golden : {"awq", "gptq-act-order", "ct-w4a16", "fp8-dynamic", "modelopt-fp8"})
    EXPECT_EQ(error_of(EditedCheckpoint(golden).save()), "(nothing was thrown)") << golden;
}

// AutoGPTQ's 4-bit zero - 1 of 15 and 0: what a word lost by borrowing comes back.
TEST(GptqZeroPoints, survive_the_borrow_of_subtracting_one) {
  EditedCheckpoint plain("gptq-v2");
  plain.at(kQuery + "qzeros").set<std::uint32_t>(0, 0x30f10020U);
  EditedCheckpoint borrowed("gptq-v2");
  borrowed.settings()["checkpoint_format"] = "gptq";
  for (auto& [name, tensor] : borrowed.tensors) {
    if (!name.ends_with("qzeros")) continue;
    if (name == kQuery + "qzeros") tensor.set<std::uint32_t>(0, 0x30f10020U);
    for (std::size_t i = 0; i < tensor.bytes.size() / 4; ++i)
      tensor.set(i, tensor.get<std::uint32_t>(i) - 0x11111111U);
  }
  const auto a = open_checkpoint(plain.save())->lease(kQuery + "weight");
  const auto b = open_checkpoint(borrowed.save())->lease(kQuery + "weight");
  const std::size_t num_zeros = 64 * 2;
  const std::vector<std::uint8_t> zeros(a->tensor().quantized->zeros,
                                        a->tensor().quantized->zeros + num_zeros);
  EXPECT_EQ(zeros, std::vector<std::uint8_t>(b->tensor().quantized->zeros,
                                             b->tensor().quantized->zeros + num_zeros));
  // Rows 0..7 of group 0, the low bits first.
  const std::vector<std::uint8_t> expected = {0, 2, 0, 0, 1, 15, 0, 3};
  for (std::size_t n = 0; n < expected.size(); ++n) EXPECT_EQ(zeros[n * 2], expected[n]) << n;
}

// Before compressed-tensors packed them, zero points were one byte each.
TEST(PackQuantized, takes_zero_points_of_one_byte) {
  EditedCheckpoint checkpoint("ct-w4a16-asymmetric");
  const auto packed = open_checkpoint(checkpoint.save())->lease(kQuery + "weight");
  const std::vector<std::uint8_t> zeros(packed->tensor().quantized->zeros,
                                        packed->tensor().quantized->zeros + 64);
  auto& tensor = checkpoint.at(kQuery + "weight_zero_point");
  tensor = {"I8", {64, 1}, std::string(64, '\0')};
  for (std::size_t n = 0; n < zeros.size(); ++n)
    tensor.set(n, static_cast<std::int8_t>(zeros[n] - 8));
  const auto bytes = open_checkpoint(checkpoint.save())->lease(kQuery + "weight");
  EXPECT_EQ(zeros, std::vector<std::uint8_t>(bytes->tensor().quantized->zeros,
                                             bytes->tensor().quantized->zeros + 64));
  tensor.set<std::int8_t>(0, 8);
  EXPECT_THAT(error_of(checkpoint.save()), HasSubstr("4 bits can't"));
}

}  // namespace
}  // namespace iol::test
