#pragma once
// Checkpoints that other tools quantized: which tool, told from config.json's `quantization_config`
// or from hf_quant_config.json, and how its tensors become ours.
//
// A family is a class behind this interface and a row in checkpoint_format.cpp.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "model/json_fields.h"
#include "quantization/stored_matrix.h"

namespace iol {

/// How one matrix is quantized.
struct MatrixScheme {
  WeightFormat format = WeightFormat::kNone;
  std::int64_t group_size = 0;  // of grouped formats; 0: a row is one group

  bool operator==(const MatrixScheme&) const = default;
};

/// What a checkpoint's settings say. Immutable.
class CheckpointFormat {
 public:
  virtual ~CheckpointFormat() = default;
  /// How the matrix is quantized, from settings, names and dtypes alone; nothing: it is plain.
  /// Throws InputError when settings and tensors contradict each other.
  [[nodiscard]] virtual std::optional<MatrixScheme> scheme_of(const StoredMatrix& stored) const = 0;
  /// A matrix that has a scheme. Throws InputError naming the tensor that is missing, does not fit
  /// or is damaged.
  [[nodiscard]] virtual UnpackedMatrix unpack(const StoredMatrix& stored) const = 0;
};

using CheckpointFormatPtr = std::unique_ptr<const CheckpointFormat>;

/// The contents of config.json and of hf_quant_config.json (empty when there is none); the names of
/// the files go into messages. Null when neither says that the checkpoint is quantized. Throws
/// InputError of one line, naming method and field, for what is not supported.
CheckpointFormatPtr parse_checkpoint_format(std::string_view config,
                                            std::string_view hf_quant_config,
                                            const std::filesystem::path& folder);

/// The same of a folder's files.
CheckpointFormatPtr read_checkpoint_format(const std::filesystem::path& folder);

// The families. Each takes the fields of `quantization_config` (modelopt: or of hf_quant_config's
// `quantization`).
CheckpointFormatPtr make_compressed_tensors_format(const JsonFields& fields);
CheckpointFormatPtr make_awq_format(const JsonFields& fields);
CheckpointFormatPtr make_gptq_format(const JsonFields& fields);
CheckpointFormatPtr make_fp8_format(const JsonFields& fields);
CheckpointFormatPtr make_modelopt_format(const JsonFields& fields);

/// Refuses a setting: "... 'quantization_config.bits' is 3; expected EXPECTED, or the unquantized
/// checkpoint with --quant".
[[noreturn]] void refuse_setting(const JsonFields& fields, const std::string& name,
                                 const std::string& expected);

/// `group_size` of gptq and awq: a positive multiple of 16, or -1 for whole rows, which becomes 0.
std::int64_t read_group_size(const JsonFields& fields, const std::string& name);

}  // namespace iol
