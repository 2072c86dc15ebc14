#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace iol {

/// Where a model's tensors come from: safetensors files, or a generator for `synthetic:` models.
/// Tensors are taken one at a time, so that a load never holds the model twice.
class WeightSource {
 public:
  /// A tensor in memory for as long as this object lives.
  class Lease {
   public:
    virtual ~Lease() = default;
    [[nodiscard]] virtual const HostTensor& tensor() const = 0;
  };

  virtual ~WeightSource() = default;
  /// How its matrices are quantized already; nothing when they are not.
  [[nodiscard]] virtual std::optional<Quantization> quantization() const { return std::nullopt; }
  [[nodiscard]] virtual bool contains(const std::string& name) const = 0;
  /// Throws InputError naming the tensor (and the file) when it is missing.
  virtual std::unique_ptr<Lease> lease(const std::string& name) = 0;
};

}  // namespace iol
