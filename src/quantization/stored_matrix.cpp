#include "quantization/stored_matrix.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace iol {
namespace {

float read_float(const HostTensor& tensor, std::int64_t i) {
  if (tensor.dtype == DType::kF32) {
    float value;
    std::memcpy(&value, tensor.data + i * 4, sizeof(value));
    return value;
  }
  std::uint16_t bits;
  std::memcpy(&bits, tensor.data + i * 2, sizeof(bits));
  return tensor.dtype == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

std::string described(const HostTensor& tensor) {
  return fmt::format("{} [{}]", dtype_name(tensor.dtype), fmt::join(tensor.shape, ", "));
}

bool holds_nan(std::span<const std::byte> e4m3) {
  return std::any_of(e4m3.begin(), e4m3.end(),
                     [](std::byte code) { return (code & std::byte{0x7f}) == std::byte{0x7f}; });
}

}  // namespace

std::span<const std::byte> bytes_of(const HostTensor& tensor) {
  return {tensor.data, static_cast<std::size_t>(tensor.num_elements()) * dtype_bytes(tensor.dtype)};
}

void StoredMatrix::refuse(std::string_view part, const std::string& what) const {
  throw_input_error("'{}': tensor '{}' {}", folder_, name(part), what);
}

void StoredMatrix::missing(std::string_view part) const {
  refuse(part,
         "is missing from the checkpoint; the download is incomplete, or its "
         "quantization settings belong to another checkpoint");
}

const HostTensor& StoredMatrix::required(std::string_view part) const {
  const HostTensor* tensor = find(part);
  if (tensor == nullptr) missing(part);
  return *tensor;
}

const HostTensor& StoredMatrix::matrix(std::string_view part,
                                       std::initializer_list<DType> dtypes) const {
  const HostTensor& tensor = required(part);
  const bool fits = std::find(dtypes.begin(), dtypes.end(), tensor.dtype) != dtypes.end();
  if (!fits || tensor.shape.size() != 2) {
    std::vector<std::string_view> names;
    for (const DType dtype : dtypes) names.push_back(dtype_name(dtype));
    refuse(part, fmt::format("is {}; expected a matrix of {}", described(tensor),
                             fmt::join(names, " or ")));
  }
  return tensor;
}

void StoredMatrix::check_shape(std::string_view part, const HostTensor& tensor,
                               std::initializer_list<std::int64_t> shape) const {
  if (std::equal(tensor.shape.begin(), tensor.shape.end(), shape.begin(), shape.end())) return;
  refuse(part, fmt::format("is {}; the tensors beside it imply [{}]", described(tensor),
                           fmt::join(shape, ", ")));
}

std::vector<float> StoredMatrix::floats(std::string_view part, const HostTensor& tensor) const {
  if (tensor.dtype != DType::kF32 && tensor.dtype != DType::kF16 && tensor.dtype != DType::kBF16)
    refuse(part, fmt::format("is {}; expected f32, f16 or bf16", described(tensor)));
  std::vector<float> values(static_cast<std::size_t>(tensor.num_elements()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = read_float(tensor, static_cast<std::int64_t>(i));
    if (!std::isfinite(values[i])) refuse(part, "holds NaN or infinity; the checkpoint is damaged");
  }
  return values;
}

std::vector<float> StoredMatrix::scales(std::string_view part, std::int64_t rows,
                                        std::int64_t columns) const {
  const HostTensor& tensor = required(part);
  check_shape(part, tensor, {rows, columns});
  return floats(part, tensor);
}

std::vector<float> StoredMatrix::row_scales(std::string_view part, std::int64_t rows) const {
  const HostTensor& tensor = required(part);
  const auto& shape = tensor.shape;
  const bool is_one_number = tensor.num_elements() == 1 && shape.size() <= 2;
  const bool is_per_row = !shape.empty() && shape[0] == rows &&
                          (shape.size() == 1 || (shape.size() == 2 && shape[1] == 1));
  if (!is_one_number && !is_per_row) {
    refuse(part, fmt::format("is {}; expected one scale, or one for each of the {} rows",
                             described(tensor), rows));
  }
  std::vector<float> values = floats(part, tensor);
  if (!is_per_row) values.assign(static_cast<std::size_t>(rows), values[0]);
  return values;
}

std::vector<std::int64_t> StoredMatrix::integers(std::string_view part, std::int64_t size) const {
  const HostTensor& tensor = required(part);
  if ((tensor.dtype != DType::kI32 && tensor.dtype != DType::kI64) || tensor.shape.size() != 1 ||
      tensor.shape[0] != size) {
    refuse(part, fmt::format("is {}; expected i32 [{}]", described(tensor), size));
  }
  std::vector<std::int64_t> values(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (tensor.dtype == DType::kI32) {
      values[i] = static_cast<std::int32_t>(word_at(tensor, static_cast<std::int64_t>(i)));
    } else {
      std::memcpy(&values[i], tensor.data + i * sizeof(std::int64_t), sizeof(std::int64_t));
    }
  }
  return values;
}

UnpackedMatrix unpack_bytes(const StoredMatrix& stored, WeightFormat format,
                            std::string_view scale) {
  const bool is_fp8 = format == WeightFormat::kFp8;
  const HostTensor& weight = stored.matrix("weight", {is_fp8 ? DType::kF8E4M3 : DType::kI8});
  UnpackedMatrix matrix;
  matrix.format = format;
  matrix.rows = weight.shape[0];
  matrix.columns = weight.shape[1];
  matrix.group_size = matrix.columns;
  matrix.mapped_values = reinterpret_cast<const std::uint8_t*>(weight.data);
  matrix.source = bytes_of(weight);
  matrix.scales = stored.row_scales(scale, matrix.rows);
  if (is_fp8 && holds_nan(matrix.source))
    stored.refuse("weight", "holds NaN; the checkpoint is damaged");
  return matrix;
}

}  // namespace iol
