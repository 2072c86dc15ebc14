#pragma once
// The tensors that a quantized checkpoint keeps for one matrix, and what becomes of them.
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "model/safetensors.h"

namespace iol {

/// A matrix [N, K] in one of our formats, as backend/quantized_tensor.h describes it: what was
/// unpacked is owned, what is stored in our layout already stays in the mapped file.
struct UnpackedMatrix {
  WeightFormat format = WeightFormat::kNone;
  std::int64_t rows = 0;                        // N
  std::int64_t columns = 0;                     // K
  std::int64_t group_size = 0;                  // K where not grouped
  const std::uint8_t* mapped_values = nullptr;  // null: `values` holds them
  std::vector<std::uint8_t> values;
  std::vector<float> scales;              // [N, G]
  std::vector<std::uint8_t> zeros;        // [N, G]; empty: 8 everywhere, or none
  std::vector<std::int32_t> input_order;  // [K]; empty: as it is
  std::span<const std::byte> source;      // the file's pages, free to go when the matrix is done
};

/// Checked access to the tensors MODULE.* of a folder. Messages name the folder and the tensor.
class StoredMatrix {
 public:
  /// `tensors` and `folder` must outlive the object.
  StoredMatrix(const SafetensorsFolder& tensors, const std::string& folder, std::string module)
      : tensors_(tensors), folder_(folder), module_(std::move(module)) {}

  [[nodiscard]] const std::string& module() const { return module_; }
  [[nodiscard]] std::string name(std::string_view part) const {
    return module_ + "." + std::string(part);
  }
  /// Null when there is no MODULE.part.
  [[nodiscard]] const HostTensor* find(std::string_view part) const {
    return tensors_.find(name(part));
  }
  /// A matrix of one of these dtypes. Throws InputError when it is missing or something else.
  [[nodiscard]] const HostTensor& matrix(std::string_view part,
                                         std::initializer_list<DType> dtypes) const;
  /// MODULE.part has this shape, or an InputError says what was expected.
  void check_shape(std::string_view part, const HostTensor& tensor,
                   std::initializer_list<std::int64_t> shape) const;

  /// f32, f16 or bf16 [rows, columns] as f32. Throws InputError also for NaN and infinity.
  [[nodiscard]] std::vector<float> scales(std::string_view part, std::int64_t rows,
                                          std::int64_t columns) const;
  /// One scale for each of `rows` rows: [rows], [rows, 1], or one number, which all rows share.
  [[nodiscard]] std::vector<float> row_scales(std::string_view part, std::int64_t rows) const;
  /// i32 or i64 [size].
  [[nodiscard]] std::vector<std::int64_t> integers(std::string_view part, std::int64_t size) const;

  [[noreturn]] void missing(std::string_view part) const;
  /// "'folder': tensor 'MODULE.part' WHAT"
  [[noreturn]] void refuse(std::string_view part, const std::string& what) const;

 private:
  [[nodiscard]] const HostTensor& required(std::string_view part) const;
  [[nodiscard]] std::vector<float> floats(std::string_view part, const HostTensor& tensor) const;

  const SafetensorsFolder& tensors_;
  const std::string& folder_;
  std::string module_;
};

/// MODULE.weight [N, K] in E4M3 or i8, one byte each in our layout, with one scale for each row or
/// for all of them in MODULE.`scale`.
UnpackedMatrix unpack_bytes(const StoredMatrix& stored, WeightFormat format,
                            std::string_view scale);

/// The little-endian word `index` of an i32 tensor, wherever the file put it.
inline std::uint32_t word_at(const HostTensor& tensor, std::int64_t index) {
  std::uint32_t word;
  __builtin_memcpy(&word, tensor.data + index * std::int64_t{sizeof(word)}, sizeof(word));
  return word;
}

/// The bytes of a tensor.
std::span<const std::byte> bytes_of(const HostTensor& tensor);

}  // namespace iol
