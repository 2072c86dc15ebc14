#include "model/checkpoint.h"

#include "base/error.h"
#include "base/mapped_file.h"

namespace iol {
namespace {

class MappedLease final : public WeightSource::Lease {
 public:
  explicit MappedLease(const HostTensor& tensor) : tensor_(tensor) {}
  ~MappedLease() override {
    release_pages({tensor_.data,
                   static_cast<std::size_t>(tensor_.num_elements()) * dtype_bytes(tensor_.dtype)});
  }
  [[nodiscard]] const HostTensor& tensor() const override { return tensor_; }

 private:
  const HostTensor& tensor_;
};

}  // namespace

Checkpoint::Checkpoint(const std::filesystem::path& folder)
    : folder_(folder.string()), tensors_(folder) {}

bool Checkpoint::contains(const std::string& name) const { return tensors_.find(name) != nullptr; }

std::unique_ptr<WeightSource::Lease> Checkpoint::lease(const std::string& name) {
  const HostTensor* tensor = tensors_.find(name);
  if (tensor == nullptr)
    throw_input_error("'{}': tensor '{}' is missing from the checkpoint", folder_, name);
  return std::make_unique<MappedLease>(*tensor);
}

}  // namespace iol
