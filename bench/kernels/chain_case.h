#pragma once
// A layer's products from attention to the next layer's queries, keys and values on the GPU, with
// random operands: output, gate and up, down, QKV, for the test of kernels/chain.h and its timing.
#include <array>
#include <string>
#include <vector>

#include "backend/cuda/kernels/chain.h"
#include "bench/kernels/linear_case.h"

namespace iol::cuda {

struct LayerShape {
  std::string name;
  int hidden = 0;
  int attended = 0;  // what attention gives
  int inner = 0;
  int qkv = 0;
};

class ChainCase {
 public:
  /// `num_copies` of the weights.
  ChainCase(const LayerShape& shape, MatrixLayout layout, int num_copies = 1)
      : shape_(shape),
        output_(linear_shape(layout, shape.hidden, shape.attended, Epilogue::kAdd), num_copies),
        gate_up_(linear_shape(layout, 2 * shape.inner, shape.hidden, Epilogue::kSwiGlu),
                 num_copies),
        down_(linear_shape(layout, shape.hidden, shape.inner, Epilogue::kAdd), num_copies),
        qkv_(linear_shape(layout, shape.qkv, shape.hidden, Epilogue::kStore), num_copies),
        attended_(numbers(shape.attended, 11)),
        norms_{numbers(shape.hidden, 12), numbers(shape.hidden, 13)},
        first_hidden_(numbers(shape.hidden, 14)),
        hidden_(first_hidden_.size_bytes(), "the residual stream"),
        gated_(static_cast<std::size_t>(shape.inner) * 4, "gated"),
        qkv_out_(static_cast<std::size_t>(shape.qkv) * 4, "queries, keys and values"),
        scratch_(sizeof(ChainScratch), "what products leave each other") {}

  /// Rows are unmade, traits of rows unknown.
  [[nodiscard]] std::array<LinearTask, kMostLinks> tasks(int copy = 0) const {
    std::array<LinearTask, kMostLinks> tasks = {
        output_.task(RowForm::kUnmade, copy), gate_up_.task(RowForm::kUnmade, copy),
        down_.task(RowForm::kUnmade, copy), qkv_.task(RowForm::kUnmade, copy)};
    const MatrixLayout layout = tasks[1].matrix.layout;
    if (layout == MatrixLayout::kF16 || layout == MatrixLayout::kInt8F16)
      tasks[1].out_element = Element::kF16;
    const Element gated = tasks[1].out_element;
    const float* none = nullptr;
    set_row(tasks[0], attended_.data(), Element::kF32, none);
    set_row(tasks[1], hidden_.data(), Element::kF32, norms_[0].as<float>());
    set_row(tasks[2], gated_.data(), gated, none);
    set_row(tasks[3], hidden_.data(), Element::kF32, norms_[1].as<float>());
    tasks[0].out = tasks[2].out = hidden_.data();
    tasks[1].out = gated_.data();
    tasks[3].out = qkv_out_.data();
    return tasks;
  }
  [[nodiscard]] ChainScratch* scratch() const { return scratch_.as<ChainScratch>(); }
  /// As before the first product.
  void reset() const {
    check(cudaMemcpy(hidden_.data(), first_hidden_.data(), hidden_.size_bytes(),
                     cudaMemcpyDeviceToDevice),
          "resetting the residual stream");
    check(cudaDeviceSynchronize(), "resetting the residual stream");
  }
  /// The residual stream, then queries, keys and values.
  [[nodiscard]] std::vector<float> results() const {
    std::vector<float> all((hidden_.size_bytes() + qkv_out_.size_bytes()) / 4);
    check(cudaMemcpy(all.data(), hidden_.data(), hidden_.size_bytes(), cudaMemcpyDeviceToHost),
          "reading results");
    check(cudaMemcpy(all.data() + hidden_.size_bytes() / 4, qkv_out_.data(), qkv_out_.size_bytes(),
                     cudaMemcpyDeviceToHost),
          "reading results");
    return all;
  }

 private:
  static LinearShape linear_shape(MatrixLayout layout, int rows, int columns, Epilogue epilogue) {
    LinearShape shape = {"", layout, rows, columns, 1, epilogue};
    shape.magnitude = kModelMagnitude;
    return shape;
  }
  static DeviceBuffer numbers(int count, std::uint64_t seed) {
    RandomStream random(seed);
    std::vector<float> values(static_cast<std::size_t>(count));
    for (auto& value : values) value = static_cast<float>(random.uniform() * 2 - 1);
    DeviceBuffer buffer(values.size() * 4, "numbers");
    copy_to_device(buffer.data(), values.data(), buffer.size_bytes(), "numbers");
    return buffer;
  }
  static void set_row(LinearTask& task, const void* x, Element element, const float* norm) {
    task.x.source = {x, element, task.matrix.columns, norm, 1e-5, {}};
    if (task.matrix.layout == MatrixLayout::kInt4) return;  // room for a row stays
    task.x.scales = nullptr;
    task.x.sums = nullptr;
  }

  LayerShape shape_;
  LinearCase output_, gate_up_, down_, qkv_;
  DeviceBuffer attended_;
  std::array<DeviceBuffer, 2> norms_;
  DeviceBuffer first_hidden_, hidden_, gated_, qkv_out_, scratch_;
};

}  // namespace iol::cuda
