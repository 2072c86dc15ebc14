// AWQ (Lin et al. 2023) in AutoAWQ's GEMM layout. Of a matrix [N, K] with G groups:
//
//   MODULE.qweight  i32 [K, N / 8]   n = 8 c + kOrder[i] in bits 4 i of word (k, c)
//   MODULE.qzeros   i32 [G, N / 8]   the same
//   MODULE.scales   f16 [G, N]
//
//   w[n][k] = (q[k][n] - zero[k / group][n]) * scale[k / group][n]
//
// Which matrices are quantized (`modules_to_not_convert`) is told from their tensors.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "quantization/checkpoint_format.h"

namespace iol {
namespace {

constexpr std::int64_t kPerWord = 8;
constexpr std::array<std::int64_t, kPerWord> kOrder = {0, 2, 4, 6, 1, 3, 5, 7};

constexpr std::uint32_t nibble(std::uint32_t word, std::int64_t i) {
  return word >> static_cast<unsigned>(4 * i) & 15U;
}

/// Two numbers of K to a byte, the even one in the low half: [N, K / 2].
std::vector<std::uint8_t> transposed_codes(const HostTensor& words) {
  constexpr std::int64_t kTile = 128;  // of K: 64 bytes of a row at a time
  const std::int64_t num_columns = words.shape[0];
  const std::int64_t words_per_column = words.shape[1];
  std::vector<std::uint8_t> out(
      static_cast<std::size_t>(num_columns / 2 * words_per_column * kPerWord));
  for (std::int64_t first = 0; first < num_columns; first += kTile) {
    const std::int64_t last = std::min(first + kTile, num_columns);
    for (std::int64_t c = 0; c < words_per_column; ++c) {
      for (std::int64_t k = first; k < last; k += 2) {
        const std::uint32_t even = word_at(words, k * words_per_column + c);
        const std::uint32_t odd = word_at(words, (k + 1) * words_per_column + c);
        for (std::int64_t i = 0; i < kPerWord; ++i) {
          const std::int64_t n = c * kPerWord + kOrder[static_cast<std::size_t>(i)];
          out[static_cast<std::size_t>((n * num_columns + k) / 2)] =
              static_cast<std::uint8_t>(nibble(even, i) | nibble(odd, i) << 4U);
        }
      }
    }
  }
  return out;
}

class AwqFormat final : public CheckpointFormat {
 public:
  explicit AwqFormat(std::int64_t group_size) : group_size_(group_size) {}

  [[nodiscard]] std::optional<MatrixScheme> scheme_of(const StoredMatrix& stored) const override {
    if (stored.find("qweight") != nullptr) return MatrixScheme{WeightFormat::kInt4, group_size_};
    if (stored.find("weight") == nullptr) stored.missing("qweight");
    return std::nullopt;
  }

  [[nodiscard]] UnpackedMatrix unpack(const StoredMatrix& stored) const override {
    const HostTensor& words = stored.matrix("qweight", {DType::kI32});
    UnpackedMatrix matrix;
    matrix.format = WeightFormat::kInt4;
    matrix.rows = words.shape[1] * kPerWord;
    matrix.columns = words.shape[0];
    matrix.group_size = group_size_ == 0 ? matrix.columns : group_size_;
    if (matrix.columns == 0 || matrix.columns % 8 != 0 || matrix.columns % matrix.group_size != 0) {
      stored.refuse("qweight", fmt::format("has {} columns, which groups of {} don't divide",
                                           matrix.columns, matrix.group_size));
    }
    const std::int64_t num_groups = matrix.columns / matrix.group_size;
    const HostTensor& zeros = stored.matrix("qzeros", {DType::kI32});
    stored.check_shape("qzeros", zeros, {num_groups, words.shape[1]});
    const auto scales = stored.scales("scales", num_groups, matrix.rows);
    matrix.scales.resize(scales.size());
    matrix.zeros.resize(scales.size());
    for (std::int64_t n = 0; n < matrix.rows; ++n) {
      const auto* place = std::find(kOrder.begin(), kOrder.end(), n % kPerWord);
      for (std::int64_t g = 0; g < num_groups; ++g) {
        const auto to = static_cast<std::size_t>(n * num_groups + g);
        matrix.scales[to] = scales[static_cast<std::size_t>(g * matrix.rows + n)];
        matrix.zeros[to] = static_cast<std::uint8_t>(
            nibble(word_at(zeros, g * words.shape[1] + n / kPerWord), place - kOrder.begin()));
      }
    }
    matrix.values = transposed_codes(words);
    matrix.source = bytes_of(words);
    return matrix;
  }

 private:
  std::int64_t group_size_;  // 0: whole rows
};

}  // namespace

CheckpointFormatPtr make_awq_format(const JsonFields& fields) {
  if (fields.integer("bits", 1, 32) != 4) refuse_setting(fields, "bits", "4 for awq");
  for (const auto* name : {"version", "format"}) {
    auto version = fields.string(name);
    if (!version) continue;
    std::transform(version->begin(), version->end(), version->begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (*version != "gemm") refuse_setting(fields, name, "gemm for awq");
  }
  if (!fields.boolean("zero_point").value_or(true))
    refuse_setting(fields, "zero_point", "true for awq");
  return std::make_unique<AwqFormat>(read_group_size(fields, "group_size"));
}

}  // namespace iol
