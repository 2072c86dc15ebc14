#pragma once
// A matrix product on the GPU with random operands: for the tests of the kernels and for timing
// them.
#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernels/kernels.h"
#include "base/dtype.h"
#include "base/random.h"
#include "bench/kernels/row_traits.h"

namespace iol::cuda {

struct LinearShape {
  std::string name;
  MatrixLayout layout = MatrixLayout::kBf16;
  int rows = 0;     // N, a multiple of 64
  int columns = 0;  // K, a multiple of 64; of int4 of the group
  int tokens = 0;   // T
  Epilogue epilogue = Epilogue::kStore;
  int group_size = 128;  // int4
  float magnitude = 1;   // by which weights, of codes their scales, are multiplied
};

/// LinearShape::magnitude with which gates are about 1, as a model's are.
inline constexpr float kModelMagnitude = 0x1p-8F;

inline const char* layout_name(MatrixLayout layout) {
  if (layout == MatrixLayout::kBf16) return "bf16";
  if (layout == MatrixLayout::kF16) return "f16";
  if (layout == MatrixLayout::kInt8) return "int8";
  if (layout == MatrixLayout::kInt4) return "int4";
  return layout == MatrixLayout::kFp8 ? "fp8" : "int8-wo";
}

constexpr int weight_bits(MatrixLayout layout) {
  return layout == MatrixLayout::kInt4 ? 4 : is_half(layout) ? 16 : 8;
}
/// Bytes of an element of the left operand.
constexpr int row_element_bytes(MatrixLayout layout, RowForm form) {
  const bool is_byte = layout == MatrixLayout::kInt8 || layout == MatrixLayout::kFp8 ||
                       layout == MatrixLayout::kInt4;
  return is_byte && form != RowForm::kWidened ? 1 : 2;
}

/// What a matrix of that shape looks like; its operands aren't there yet.
inline MatrixView view_of(const LinearShape& shape) {
  MatrixView view;
  view.layout = shape.layout;
  view.rows = shape.rows;
  view.columns = view.padded_columns = shape.columns;
  if (shape.layout == MatrixLayout::kInt4) {
    view.group_size = shape.group_size;
    view.padded_group = (shape.group_size + 31) / 32 * 32;
    view.num_groups = shape.columns / shape.group_size;
    view.padded_columns = (view.num_groups * view.padded_group + 63) / 64 * 64;
  }
  return view;
}

/// Operands in device memory, and room for the result. Weights are drawn in the packed order, so
/// that nothing has to be packed; `num_copies` of them let timing meet cold caches.
class LinearCase {
 public:
  explicit LinearCase(const LinearShape& shape, int num_copies = 1)
      : shape_(shape),
        view_(view_of(shape)),
        weights_(static_cast<std::size_t>(num_copies) * matrix_bytes(), "weights"),
        x_(row_bytes(RowForm::kPlain), "rows"),
        dealt_(row_bytes(RowForm::kDealt), "dealt rows"),
        widened_(row_bytes(RowForm::kWidened), "widened rows"),
        unmade_(
            static_cast<std::size_t>(shape.tokens) * static_cast<std::size_t>(shape.columns) * 4,
            "rows that aren't made yet"),
        first_unmade_(random_row(shape.columns)),
        traits_(RowTraitsOnHost(first_unmade_, first_unmade_)),
        scales_(num_scales(shape.rows) * 4, "scales of weights"),
        zeros_(num_scales(shape.rows), "zero points"),
        x_scales_(num_scales(dealt_scales(shape.tokens)) * 4, "scales of rows"),
        dealt_scales_(x_scales_.size_bytes(), "scales of dealt rows"),
        x_sums_(x_scales_.size_bytes(), "sums of rows"),
        out_(static_cast<std::size_t>(shape.tokens) * static_cast<std::size_t>(shape.rows) * 4,
             "results"),
        best_(static_cast<std::size_t>(shape.tokens) * 8, "the largest"),
        exchanged_(kExchangeSumBytes, "sums of shared units"),
        are_there_(kExchangeFlagBytes, "flags of shared units") {
    fill();
  }

  [[nodiscard]] const LinearShape& shape() const { return shape_; }
  [[nodiscard]] double operations() const {
    return 2.0 * shape_.tokens * shape_.rows * shape_.columns;
  }
  [[nodiscard]] std::size_t matrix_bytes() const {
    return static_cast<std::size_t>(shape_.rows) * padded() *
           static_cast<std::size_t>(weight_bits(shape_.layout)) / 8;
  }

  /// Gated results are the next product's operand, or, where codes are to be made of them, f32.
  [[nodiscard]] Element out_element() const {
    const bool is_code = row_element_bytes(shape_.layout, RowForm::kDealt) == 1;
    return shape_.epilogue == Epilogue::kSwiGlu && !is_code ? Element::kBf16 : Element::kF32;
  }

  /// The product of all tokens with rows of x in that form, and copy `copy` of the weights.
  [[nodiscard]] LinearTask task(RowForm form, int copy = 0) const {
    LinearTask task;
    task.matrix = view_;
    task.matrix.data = weights_.data() + static_cast<std::size_t>(copy) * matrix_bytes();
    task.matrix.scales = scales_.as<const float>();
    if (shape_.layout == MatrixLayout::kInt4) task.matrix.zeros = zeros_.as<const std::uint8_t>();
    if (form == RowForm::kUnmade)  // a row's own numbers serve as the norm's weights
      task.x.source = {unmade_.data(), Element::kF32, shape_.columns, unmade_.as<const float>(),
                       1e-5,           traits_.view()};
    const bool has_room = shape_.layout == MatrixLayout::kInt4;  // for a row that isn't made yet
    task.x.values = form == RowForm::kUnmade  ? has_room ? x_.data() : nullptr
                    : form == RowForm::kPlain ? x_.data()
                    : form == RowForm::kDealt ? dealt_.data()
                                              : widened_.data();
    task.x.scales = form == RowForm::kDealt ? dealt_scales_.as<float>() : x_scales_.as<float>();
    task.x.sums = x_sums_.as<std::int32_t>();
    task.x.form = form;
    task.num_tokens = shape_.tokens;
    task.epilogue = shape_.epilogue;
    task.out = out_.data();
    task.out_element = out_element();
    task.out_columns = task.out_stride =
        shape_.epilogue == Epilogue::kSwiGlu ? shape_.rows / 2 : shape_.rows;
    task.best = best_.as<unsigned long long>();
    task.exchange = {exchanged_.as<float>(), are_there_.as<std::uint32_t>()};
    return task;
  }
  /// The same for tokens [first, first + count) of plain rows.
  [[nodiscard]] LinearTask part(LinearTask task, int first, int count) const {
    const auto offset = static_cast<std::size_t>(first);
    const auto row =
        padded() * static_cast<std::size_t>(row_element_bytes(shape_.layout, task.x.form));
    task.x.values = static_cast<std::byte*>(task.x.values) + offset * row;
    task.x.scales += num_scales(first);
    task.x.sums += num_scales(first);
    task.out = static_cast<std::byte*>(task.out) +
               offset * static_cast<std::size_t>(task.out_stride * element_bytes(task.out_element));
    task.best += first;
    task.num_tokens = count;
    return task;
  }

  /// Everything that the product left: results, then the largest of each row.
  [[nodiscard]] std::vector<std::uint32_t> results() const {
    std::vector<std::uint32_t> all((out_.size_bytes() + best_.size_bytes()) / 4);
    check(cudaMemcpy(all.data(), out_.data(), out_.size_bytes(), cudaMemcpyDeviceToHost),
          "reading results");
    check(cudaMemcpy(all.data() + out_.size_bytes() / 4, best_.data(), best_.size_bytes(),
                     cudaMemcpyDeviceToHost),
          "reading the largest");
    return all;
  }
  void clear() const {
    check(cudaMemset(out_.data(), 0, out_.size_bytes()), "clearing results");
    check(cudaMemset(best_.data(), 0, best_.size_bytes()), "clearing the largest");
    check(cudaDeviceSynchronize(), "clearing");  // streams of their own don't wait for it
  }

 private:
  [[nodiscard]] std::size_t padded() const {
    return static_cast<std::size_t>(view_.padded_columns);
  }
  /// Scales of `count` rows or tokens.
  [[nodiscard]] std::size_t num_scales(int count) const {
    return static_cast<std::size_t>(count) *
           static_cast<std::size_t>(std::max(view_.num_groups, 1));
  }
  [[nodiscard]] std::size_t row_bytes(RowForm form) const {
    return static_cast<std::size_t>(shape_.tokens) * padded() *
           static_cast<std::size_t>(row_element_bytes(shape_.layout, form));
  }

  /// Random numbers of the layout's kind, none of them NaN.
  static std::vector<std::byte> random_elements(std::size_t bytes, bool is_half, bool is_fp8,
                                                MatrixLayout layout, std::uint64_t seed,
                                                float magnitude = 1) {
    std::vector<std::byte> data(bytes);
    RandomStream random(seed);
    auto* halves = reinterpret_cast<std::uint16_t*>(data.data());
    if (is_half) {
      const bool is_f16 = layout == MatrixLayout::kF16 || layout == MatrixLayout::kInt8F16;
      for (std::size_t i = 0; i < bytes / 2; ++i) {
        const auto value = static_cast<float>(random.uniform() * 2 - 1) * magnitude;
        const auto bits = std::bit_cast<std::uint32_t>(value);
        halves[i] = static_cast<std::uint16_t>(bits >> 16);
        if (is_f16)  // 1.x times a power from 2^-8 on, and the sign
          halves[i] = static_cast<std::uint16_t>((bits >> 31) << 15 | (7 + random.below(8)) << 10 |
                                                 (bits >> 13 & 0x3ffU));
      }
      return data;
    }
    for (auto& byte : data) {
      auto code = static_cast<std::uint8_t>(random.below(256));
      if (is_fp8 && (code & 0x7fU) == 0x7fU) code = 0x30;
      byte = std::byte{code};
    }
    return data;
  }

  static std::vector<float> random_row(int columns) {
    RandomStream random(4);
    std::vector<float> row(static_cast<std::size_t>(columns));
    for (auto& number : row) number = static_cast<float>(random.uniform() * 2 - 1);
    return row;
  }

  void fill() {
    const bool is_fp8 = shape_.layout == MatrixLayout::kFp8;
    const std::size_t block = std::min(matrix_bytes(), std::size_t{16} << 20);
    const auto weights =
        random_elements(block, is_half(shape_.layout), is_fp8, shape_.layout, 1, shape_.magnitude);
    for (std::size_t at = 0; at < weights_.size_bytes(); at += block)
      upload(weights_, at, weights.data(), std::min(block, weights_.size_bytes() - at));
    const int element = row_element_bytes(shape_.layout, RowForm::kPlain);
    const int unique = std::min(shape_.tokens, kUniqueRows);
    const std::size_t numbers = static_cast<std::size_t>(unique) * padded();
    const auto bytes = static_cast<std::size_t>(element);
    auto rows = random_elements(numbers * bytes, element == 2, is_fp8, shape_.layout, 2);
    if (shape_.layout == MatrixLayout::kInt4) clear_padding(rows);
    std::vector<std::byte> dealt(rows.size());
    std::vector<std::uint16_t> widened(numbers);
    const int run = run_pieces(shape_.layout, RowForm::kDealt);
    const int widened_run = run_pieces(shape_.layout, RowForm::kWidened);
    for (std::size_t i = 0; i < numbers; ++i) {
      const std::size_t base = i - i % padded();
      const auto k = static_cast<int>(i - base);
      const auto to = base + static_cast<std::size_t>(dealt_column(k, element, run));
      std::memcpy(&dealt[to * bytes], &rows[i * bytes], bytes);
      if (is_fp8)
        widened[base + static_cast<std::size_t>(dealt_column(k, 2, widened_run))] =
            f32_to_f16(e4m3_to_f32(static_cast<std::uint8_t>(rows[i])));
    }
    const auto fill_rows = [&](const DeviceBuffer& to, const void* from, std::size_t size) {
      for (std::size_t at = 0; at < to.size_bytes(); at += size)
        upload(to, at, from, std::min(size, to.size_bytes() - at));
    };
    fill_rows(x_, rows.data(), rows.size());
    fill_rows(dealt_, dealt.data(), dealt.size());
    fill_rows(widened_, widened.data(), numbers * 2);
    fill_rows(unmade_, first_unmade_.data(), first_unmade_.size() * 4);
    RandomStream random(3);
    fill_scales(rows, random);
  }
  /// int4: x is zero where groups are padded.
  void clear_padding(std::vector<std::byte>& rows) const {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto column = static_cast<int>(i % padded());
      if (column >= view_.num_groups * view_.padded_group ||
          column % view_.padded_group >= view_.group_size)
        rows[i] = std::byte{0};
    }
  }
  void fill_scales(const std::vector<std::byte>& rows, RandomStream& random) {
    const auto draw = [&](std::size_t count, float magnitude) {
      std::vector<float> scales(count);
      for (auto& scale : scales)
        scale = static_cast<float>(0.5 + random.uniform()) / 64 * magnitude;
      return scales;
    };
    const auto scales = draw(scales_.size_bytes() / 4, shape_.magnitude);
    upload(scales_, 0, scales.data(), scales_.size_bytes());
    const auto x_scales = draw(x_scales_.size_bytes() / 4, 1);
    upload(x_scales_, 0, x_scales.data(), x_scales_.size_bytes());
    if (shape_.layout != MatrixLayout::kInt4)
      return upload(dealt_scales_, 0, x_scales.data(), x_scales_.size_bytes());
    std::vector<std::uint8_t> zeros(zeros_.size_bytes());
    for (auto& zero : zeros) zero = static_cast<std::uint8_t>(random.below(16));
    upload(zeros_, 0, zeros.data(), zeros.size());
    std::vector<float> dealt(x_scales.size());
    std::vector<std::int32_t> sums(x_scales.size());
    const auto stride = static_cast<std::size_t>(dealt_scales(shape_.tokens));
    const auto groups = static_cast<std::size_t>(view_.num_groups);
    const auto group_bytes = static_cast<std::size_t>(view_.padded_group);
    for (std::size_t token = 0; token < static_cast<std::size_t>(shape_.tokens); ++token) {
      for (std::size_t group = 0; group < groups; ++group) {
        dealt[group * stride + token] = x_scales[token * groups + group];
        const std::size_t begin = token * padded() % rows.size() + group * group_bytes;
        for (std::size_t i = begin; i < begin + group_bytes; ++i)
          sums[token * groups + group] += static_cast<std::int8_t>(rows[i]);
      }
    }
    upload(dealt_scales_, 0, dealt.data(), dealt.size() * 4);
    upload(x_sums_, 0, sums.data(), sums.size() * 4);
  }
  static void upload(const DeviceBuffer& to, std::size_t at, const void* from, std::size_t bytes) {
    copy_to_device(to.data() + at, from, bytes, "filling operands");
  }

  static constexpr int kUniqueRows = 61;  // a prime: no two tiles of tokens are alike

  LinearShape shape_;
  MatrixView view_;
  DeviceBuffer weights_, x_, dealt_, widened_, unmade_;
  std::vector<float> first_unmade_;  // all rows are alike
  RowTraitsOnDevice traits_;         // of each
  DeviceBuffer scales_, zeros_, x_scales_, dealt_scales_, x_sums_, out_, best_, exchanged_,
      are_there_;
};

}  // namespace iol::cuda
