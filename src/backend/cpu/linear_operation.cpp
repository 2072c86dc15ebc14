#include "backend/cpu/linear_operation.h"

#include <vector>

#include "backend/read_elements.h"

namespace iol::cpu {

void LinearOperation::quantize_row(CpuActivations& a, const PackedMatrix& matrix, std::byte* x,
                                   Element element, std::int64_t row) {
  const std::int64_t size = matrix.num_columns();
  std::uint8_t* codes = a.quantized + row * row_stride_bytes(matrix.padded_columns());
  switch (matrix.format()) {
    case WeightFormat::kInt8:
      return kernels_->quantize({x, element, size, codes, a.scales + row});
    case WeightFormat::kFp8:
      return kernels_->quantize_fp8({x, element, size, x, activation_, a.scales + row});
    case WeightFormat::kInt4: {
      const std::int64_t num_groups = size / matrix.group_size();
      return kernels_->quantize_groups({x, element, matrix.input_order(), size, matrix.group_size(),
                                        reinterpret_cast<std::int8_t*>(codes),
                                        a.scales + row * num_groups, a.sums + row * num_groups});
    }
    case WeightFormat::kNone:
    case WeightFormat::kInt8WeightOnly:
      return;
  }
}

void LinearOperation::quantize(CpuActivations& a, const PackedMatrix& matrix, std::byte* x,
                               Element element, std::int64_t num_tokens) {
  if (matrix.format() == WeightFormat::kNone || matrix.format() == WeightFormat::kInt8WeightOnly)
    return;
  const std::int64_t row_bytes =
      row_stride_bytes(matrix.padded_columns() * element_bytes_of(element));
  threads_->for_ranges(num_tokens, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i)
      quantize_row(a, matrix, x + i * row_bytes, element, i);
  });
}

LinearTask LinearOperation::task(CpuActivations& a, const PackedMatrix& matrix, const std::byte* x,
                                 Element element, std::int64_t num_tokens) const {
  LinearTask task;
  task.x = x;
  task.x_element = element;
  task.x_stride = row_stride(matrix.padded_columns(), element);
  task.weight_scales = matrix.scales();
  switch (matrix.format()) {
    case WeightFormat::kInt8:
      task.x = a.quantized;
      task.x_stride = row_stride_bytes(matrix.padded_columns());
      task.x_scales = a.scales;
      task.weight_offsets = matrix.offsets();
      break;
    case WeightFormat::kFp8:
      // Rounded in place: rows begin where they did, in narrower elements.
      task.x_stride *= element_bytes_of(element) / element_bytes_of(activation_);
      task.x_element = activation_;
      task.x_scales = a.scales;
      break;
    case WeightFormat::kInt4:
      task.x = a.quantized;
      task.x_stride = row_stride_bytes(matrix.padded_columns());
      task.x_scales = a.scales;
      task.x_sums = a.sums;
      task.group_size = matrix.group_size();
      break;
    case WeightFormat::kNone:
      if (observer_ != nullptr) show_observer(matrix, x, element, num_tokens);
      break;
    case WeightFormat::kInt8WeightOnly:
      break;
  }
  task.weights = matrix.data();
  task.weight_element = matrix.element();
  task.num_tokens = num_tokens;
  task.num_columns = matrix.padded_columns();
  task.out_columns = matrix.num_rows();
  return task;
}

void LinearOperation::show_observer(const PackedMatrix& matrix, const std::byte* x, Element element,
                                    std::int64_t num_tokens) const {
  HostTensor rows;
  rows.data = x;
  rows.dtype = element == Element::kBf16 ? DType::kBF16 : DType::kF32;
  std::vector<float> row(static_cast<std::size_t>(matrix.num_columns()));
  for (std::int64_t token = 0; token < num_tokens; ++token) {
    read_elements(rows, token * row_stride(matrix.padded_columns(), element), row);
    observer_->observe(matrix, row);
  }
}

void LinearOperation::run(CpuActivations& a, const LinearTask& task, std::int64_t num_panels) {
  threads_->for_ranges(num_panels, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
    kernels_->linear(task, begin, end,
                     reinterpret_cast<float*>(a.scratch[static_cast<std::size_t>(thread)]));
  });
}

}  // namespace iol::cpu
