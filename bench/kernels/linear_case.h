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

namespace iol::cuda {

struct LinearShape {
  std::string name;
  MatrixLayout layout = MatrixLayout::kBf16;
  int rows = 0;     // N, a multiple of 64
  int columns = 0;  // K, a multiple of 64
  int tokens = 0;   // T
  Epilogue epilogue = Epilogue::kStore;
};

constexpr int weight_bytes(MatrixLayout layout) { return is_half(layout) ? 2 : 1; }
/// Bytes of an element of the left operand.
constexpr int row_element_bytes(MatrixLayout layout, RowForm form) {
  const bool is_byte = layout == MatrixLayout::kInt8 || layout == MatrixLayout::kFp8;
  return is_byte && form != RowForm::kWidened ? 1 : 2;
}

/// Operands in device memory, and room for the result. Weights are drawn in the packed order, so
/// that nothing has to be packed; `num_copies` of them let timing meet cold caches.
class LinearCase {
 public:
  explicit LinearCase(const LinearShape& shape, int num_copies = 1)
      : shape_(shape),
        weights_(copies_bytes(shape, num_copies), "weights"),
        x_(row_bytes(RowForm::kPlain), "rows"),
        dealt_(row_bytes(RowForm::kDealt), "dealt rows"),
        widened_(row_bytes(RowForm::kWidened), "widened rows"),
        unmade_(
            static_cast<std::size_t>(shape.tokens) * static_cast<std::size_t>(shape.columns) * 4,
            "rows that aren't made yet"),
        scales_(static_cast<std::size_t>(shape.rows + shape.tokens) * 4, "scales"),
        out_(static_cast<std::size_t>(shape.tokens) * static_cast<std::size_t>(shape.rows) * 4,
             "results"),
        best_(static_cast<std::size_t>(shape.tokens) * 8, "the largest") {
    fill();
  }

  [[nodiscard]] const LinearShape& shape() const { return shape_; }
  [[nodiscard]] double operations() const {
    return 2.0 * shape_.tokens * shape_.rows * shape_.columns;
  }
  [[nodiscard]] std::size_t matrix_bytes() const {
    return static_cast<std::size_t>(shape_.rows) * static_cast<std::size_t>(shape_.columns) *
           static_cast<std::size_t>(weight_bytes(shape_.layout));
  }

  /// The product of all tokens with rows of x in that form, and copy `copy` of the weights.
  [[nodiscard]] LinearTask task(RowForm form, int copy = 0) const {
    LinearTask task;
    task.matrix.data = weights_.data() + static_cast<std::size_t>(copy) * matrix_bytes();
    task.matrix.layout = shape_.layout;
    task.matrix.rows = shape_.rows;
    task.matrix.columns = task.matrix.padded_columns = shape_.columns;
    task.matrix.scales = scales_.as<const float>();
    if (form == RowForm::kUnmade)  // a row's own numbers serve as the norm's weights
      task.x.source = {unmade_.data(), Element::kF32, shape_.columns, unmade_.as<const float>(),
                       1e-5};
    task.x.values = form == RowForm::kUnmade  ? nullptr
                    : form == RowForm::kPlain ? x_.data()
                    : form == RowForm::kDealt ? dealt_.data()
                                              : widened_.data();
    task.x.scales = scales_.as<float>() + shape_.rows;
    task.x.form = form;
    task.num_tokens = shape_.tokens;
    task.epilogue = shape_.epilogue;
    task.out = out_.data();
    task.out_element = shape_.epilogue == Epilogue::kSwiGlu ? Element::kBf16 : Element::kF32;
    task.out_columns = task.out_stride =
        shape_.epilogue == Epilogue::kSwiGlu ? shape_.rows / 2 : shape_.rows;
    task.best = best_.as<unsigned long long>();
    return task;
  }
  /// The same for tokens [first, first + count).
  [[nodiscard]] LinearTask part(LinearTask task, int first, int count) const {
    const auto offset = static_cast<std::size_t>(first);
    const auto row =
        static_cast<std::size_t>(shape_.columns * row_element_bytes(shape_.layout, task.x.form));
    task.x.values = static_cast<std::byte*>(task.x.values) + offset * row;
    task.x.scales += first;
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
  static std::size_t copies_bytes(const LinearShape& shape, int num_copies) {
    return static_cast<std::size_t>(num_copies) * static_cast<std::size_t>(shape.rows) *
           static_cast<std::size_t>(shape.columns) *
           static_cast<std::size_t>(weight_bytes(shape.layout));
  }
  [[nodiscard]] std::size_t row_bytes(RowForm form) const {
    return static_cast<std::size_t>(shape_.tokens) *
           static_cast<std::size_t>(shape_.columns * row_element_bytes(shape_.layout, form));
  }

  /// Random numbers of the layout's kind, none of them NaN.
  static std::vector<std::byte> random_elements(std::size_t bytes, bool is_half, bool is_fp8,
                                                MatrixLayout layout, std::uint64_t seed) {
    std::vector<std::byte> data(bytes);
    RandomStream random(seed);
    auto* halves = reinterpret_cast<std::uint16_t*>(data.data());
    if (is_half) {
      const bool is_f16 = layout == MatrixLayout::kF16 || layout == MatrixLayout::kInt8F16;
      for (std::size_t i = 0; i < bytes / 2; ++i) {
        const auto value = static_cast<float>(random.uniform() * 2 - 1);
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

  void fill() {
    const bool is_fp8 = shape_.layout == MatrixLayout::kFp8;
    const std::size_t block = std::min(matrix_bytes(), std::size_t{16} << 20);
    const auto weights = random_elements(block, is_half(shape_.layout), is_fp8, shape_.layout, 1);
    for (std::size_t at = 0; at < weights_.size_bytes(); at += block)
      upload(weights_, at, weights.data(), std::min(block, weights_.size_bytes() - at));
    const int element = row_element_bytes(shape_.layout, RowForm::kPlain);
    const int unique = std::min(shape_.tokens, kUniqueRows);
    const auto numbers =
        static_cast<std::size_t>(unique) * static_cast<std::size_t>(shape_.columns);
    const auto bytes = static_cast<std::size_t>(element);
    const auto rows = random_elements(numbers * bytes, element == 2, is_fp8, shape_.layout, 2);
    std::vector<std::byte> dealt(rows.size());
    std::vector<std::uint16_t> widened(numbers);
    const int run = run_pieces(shape_.layout, RowForm::kDealt);
    const int widened_run = run_pieces(shape_.layout, RowForm::kWidened);
    for (std::size_t i = 0; i < numbers; ++i) {
      const std::size_t base = i - i % static_cast<std::size_t>(shape_.columns);
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
    std::vector<float> scales(scales_.size_bytes() / 4);
    RandomStream random(3);
    std::vector<float> unmade(numbers);
    for (auto& number : unmade) number = static_cast<float>(random.uniform() * 2 - 1);
    fill_rows(unmade_, unmade.data(), numbers * 4);
    for (auto& scale : scales) scale = static_cast<float>(0.5 + random.uniform()) / 64;
    upload(scales_, 0, scales.data(), scales_.size_bytes());
  }
  static void upload(const DeviceBuffer& to, std::size_t at, const void* from, std::size_t bytes) {
    copy_to_device(to.data() + at, from, bytes, "filling operands");
  }

  static constexpr int kUniqueRows = 61;  // a prime: no two tiles of tokens are alike

  LinearShape shape_;
  DeviceBuffer weights_, x_, dealt_, widened_, unmade_, scales_, out_, best_;
};

}  // namespace iol::cuda
