// GPTQ (Frantar et al. 2022), as AutoGPTQ and GPTQModel store it. Of a matrix [N, K] with G groups:
//
//   MODULE.qweight  i32 [K / 8, N]   eight 4-bit numbers of a column of words: k = 8 r + i in bits
//   4 i MODULE.qzeros   i32 [G, N / 8]   zero points, n = 8 c + i in bits 4 i MODULE.scales   f16
//   [G, N] MODULE.g_idx    i32 [K]          the group of each input; with `desc_act` in any order
//
//   w[n][k] = (q[k][n] - zero[g_idx[k]][n]) * scale[g_idx[k]][n]
//
// `checkpoint_format: gptq` stores zero - 1: the words are what subtracting 0x11111111 left of
// them, so adding it to a word, borrows included, brings them back. `gptq_v2` stores the zero
// itself. 8 bits (four numbers to a word) fit int8-wo when a row is one group and every zero is
// 128.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "quantization/checkpoint_format.h"
#include "quantization/column_order.h"

namespace iol {
namespace {

struct GptqSettings {
  int bits = 4;
  std::int64_t group_size = 0;  // 0: whole rows
  bool desc_act = false;
  bool stores_zero_minus_one = true;
};

/// [G, N] to [N, G].
std::vector<float> transposed(const std::vector<float>& scales, std::int64_t num_groups,
                              std::int64_t num_rows) {
  std::vector<float> out(scales.size());
  for (std::int64_t g = 0; g < num_groups; ++g) {
    for (std::int64_t n = 0; n < num_rows; ++n)
      out[static_cast<std::size_t>(n * num_groups + g)] =
          scales[static_cast<std::size_t>(g * num_rows + n)];
  }
  return out;
}

/// Words [R, N] to [N, R]. The bytes of a word are in our order already: the first number in the
/// low bits.
std::vector<std::uint8_t> transposed_words(const HostTensor& words) {
  constexpr std::int64_t kTile = 32;
  const std::int64_t num_word_rows = words.shape[0];
  const std::int64_t num_rows = words.shape[1];
  std::vector<std::uint8_t> out(static_cast<std::size_t>(words.num_elements()) * 4);
  for (std::int64_t first = 0; first < num_word_rows; first += kTile) {
    const std::int64_t last = std::min(first + kTile, num_word_rows);
    for (std::int64_t n = 0; n < num_rows; ++n) {
      for (std::int64_t r = first; r < last; ++r) {
        const std::uint32_t word = word_at(words, r * num_rows + n);
        __builtin_memcpy(out.data() + (n * num_word_rows + r) * 4, &word, sizeof(word));
      }
    }
  }
  return out;
}

class GptqFormat final : public CheckpointFormat {
 public:
  explicit GptqFormat(const GptqSettings& settings) : settings_(settings) {}

  [[nodiscard]] std::optional<MatrixScheme> scheme_of(const StoredMatrix& stored) const override {
    if (stored.find("qweight") == nullptr) {
      if (stored.find("weight") == nullptr) stored.missing("qweight");
      return std::nullopt;
    }
    if (settings_.bits == 8) return MatrixScheme{WeightFormat::kInt8WeightOnly};
    return MatrixScheme{WeightFormat::kInt4, settings_.group_size};
  }

  [[nodiscard]] UnpackedMatrix unpack(const StoredMatrix& stored) const override {
    const HostTensor& words = stored.matrix("qweight", {DType::kI32});
    const std::int64_t per_word = 32 / settings_.bits;
    UnpackedMatrix matrix;
    matrix.rows = words.shape[1];
    matrix.columns = words.shape[0] * per_word;
    matrix.group_size = settings_.group_size == 0 ? matrix.columns : settings_.group_size;
    if (matrix.columns == 0 || matrix.columns % matrix.group_size != 0 ||
        matrix.rows % per_word != 0) {
      stored.refuse("qweight", fmt::format("holds {} x {} numbers, which groups of {} don't divide",
                                           matrix.rows, matrix.columns, matrix.group_size));
    }
    const std::int64_t num_groups = matrix.columns / matrix.group_size;
    matrix.scales =
        transposed(stored.scales("scales", num_groups, matrix.rows), num_groups, matrix.rows);
    matrix.zeros = zeros(stored, num_groups, matrix.rows);
    matrix.values = transposed_words(words);
    matrix.source = bytes_of(words);
    if (settings_.bits == 8) {
      become_int8(stored, matrix);
    } else {
      matrix.format = WeightFormat::kInt4;
      if (stored.find("g_idx") != nullptr || settings_.desc_act) {
        reorder_columns(matrix,
                        columns_by_group(stored, "g_idx", matrix.columns, matrix.group_size));
      }
    }
    return matrix;
  }

 private:
  /// [N, G]
  [[nodiscard]] std::vector<std::uint8_t> zeros(const StoredMatrix& stored, std::int64_t num_groups,
                                                std::int64_t num_rows) const {
    const std::int64_t per_word = 32 / settings_.bits;
    const std::uint32_t one = settings_.bits == 4 ? 0x11111111U : 0x01010101U;
    const std::uint32_t mask = (1U << static_cast<unsigned>(settings_.bits)) - 1;
    const HostTensor& words = stored.matrix("qzeros", {DType::kI32});
    stored.check_shape("qzeros", words, {num_groups, num_rows / per_word});
    std::vector<std::uint8_t> zeros(static_cast<std::size_t>(num_groups * num_rows));
    for (std::int64_t g = 0; g < num_groups; ++g) {
      for (std::int64_t c = 0; c < num_rows / per_word; ++c) {
        std::uint32_t word = word_at(words, g * (num_rows / per_word) + c);
        if (settings_.stores_zero_minus_one) word += one;
        for (std::int64_t i = 0; i < per_word; ++i) {
          zeros[static_cast<std::size_t>((c * per_word + i) * num_groups + g)] =
              static_cast<std::uint8_t>(word >> static_cast<unsigned>(settings_.bits * i) & mask);
        }
      }
    }
    return zeros;
  }

  static void become_int8(const StoredMatrix& stored, UnpackedMatrix& matrix) {
    constexpr std::uint8_t kMiddle = 128;
    if (std::any_of(matrix.zeros.begin(), matrix.zeros.end(),
                    [](std::uint8_t zero) { return zero != kMiddle; })) {
      stored.refuse("qzeros",
                    "holds zero points other than 128; this engine's int8-wo has none, use the "
                    "unquantized checkpoint with --quant");
    }
    matrix.format = WeightFormat::kInt8WeightOnly;
    matrix.zeros.clear();
    for (auto& value : matrix.values) value ^= kMiddle;  // q - 128 in two's complement
  }

  GptqSettings settings_;
};

/// Overrides for modules by pattern; one that begins with "-:" leaves modules unquantized, which
/// their tensors show.
void refuse_overrides(const JsonFields& fields) {
  const nlohmann::json* overrides = fields.object("dynamic");
  if (overrides == nullptr) return;
  for (const auto& [pattern, settings] : overrides->items()) {
    if (!pattern.starts_with("-:") && !settings.empty())
      refuse_setting(fields, "dynamic", "one setting for all modules of gptq");
  }
}

}  // namespace

CheckpointFormatPtr make_gptq_format(const JsonFields& fields) {
  GptqSettings settings;
  const auto bits = fields.integer("bits", 1, 32);
  if (bits != 4 && bits != 8) refuse_setting(fields, "bits", "4 or 8 for gptq");
  settings.bits = static_cast<int>(*bits);
  settings.group_size = read_group_size(fields, "group_size");
  if (settings.bits == 8 && settings.group_size != 0)
    refuse_setting(fields, "group_size", "-1 for gptq with 8 bits (one scale per row)");
  settings.desc_act = fields.boolean("desc_act").value_or(false);
  for (const auto* name : {"format", "checkpoint_format"}) {
    const auto form = fields.string(name);
    if (!form) continue;
    if (*form != "gptq" && *form != "gptq_v2") refuse_setting(fields, name, "gptq or gptq_v2");
    settings.stores_zero_minus_one = *form == "gptq";
  }
  if (fields.boolean("is_marlin_format").value_or(false))
    refuse_setting(fields, "is_marlin_format", "false for gptq");
  if (const auto packed = fields.string("pack_dtype"); packed && *packed != "int32")
    refuse_setting(fields, "pack_dtype", "int32 for gptq");
  refuse_overrides(fields);
  return std::make_unique<GptqFormat>(settings);
}

}  // namespace iol
