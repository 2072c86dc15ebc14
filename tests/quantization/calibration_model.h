// A model to calibrate in tests.
#pragma once
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "backend/cpu/cpu_backend.h"
#include "model/checkpoint.h"
#include "model/config.h"

namespace iol::test {

inline const std::string kRoot = IOL_SOURCE_DIR;
inline const std::string kTinyModels = kRoot + "/tests/goldens/models/";
inline const std::string kDemo = kRoot + "/models/books-16m";

inline std::unique_ptr<Backend> f32_backend(int num_threads = 0) {
  return make_cpu_backend({std::nullopt, num_threads, DType::kF32});
}

/// Token ids of a vocabulary, in an order that repeats after it.
inline std::vector<std::int32_t> some_tokens(int count, int vocabulary) {
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back((i * 37 + i / 5) % vocabulary);
  return tokens;
}

/// A source with one element of one tensor replaced.
class PoisonedSource final : public WeightSource {
 public:
  PoisonedSource(const std::string& folder, std::string name, std::size_t element, float value)
      : source_(folder), name_(std::move(name)), element_(element), value_(value) {}
  [[nodiscard]] bool contains(const std::string& name) const override {
    return source_.contains(name);
  }
  std::unique_ptr<Lease> lease(const std::string& name) override {
    auto lease = source_.lease(name);
    if (name != name_) return lease;
    return std::make_unique<Poisoned>(lease->tensor(), element_, value_);
  }

 private:
  class Poisoned final : public Lease {
   public:
    Poisoned(const HostTensor& original, std::size_t element, float value)
        : values_(static_cast<std::size_t>(original.num_elements()), 0.01F), tensor_(original) {
      values_[element] = value;
      tensor_.dtype = DType::kF32;
      tensor_.data = reinterpret_cast<const std::byte*>(values_.data());
    }
    [[nodiscard]] const HostTensor& tensor() const override { return tensor_; }

   private:
    std::vector<float> values_;
    HostTensor tensor_;
  };

  Checkpoint source_;
  std::string name_;
  std::size_t element_;
  float value_;
};

template <class Body>
std::string message_of(Body body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace iol::test
