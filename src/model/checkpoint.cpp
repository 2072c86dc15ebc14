#include "model/checkpoint.h"

#include <sys/mman.h>

#include "base/error.h"

namespace iol {
namespace {

class MappedLease final : public WeightSource::Lease {
 public:
  explicit MappedLease(const HostTensor& tensor) : tensor_(tensor) {}
  ~MappedLease() override {
    // Whole pages inside the tensor only: its neighbours may be in use.
    constexpr std::uintptr_t kPage = 4096;
    const auto begin = reinterpret_cast<std::uintptr_t>(tensor_.data);
    const auto end =
        begin + static_cast<std::uintptr_t>(tensor_.num_elements()) * dtype_bytes(tensor_.dtype);
    const std::uintptr_t first = (begin + kPage - 1) / kPage * kPage;
    const std::uintptr_t last = end / kPage * kPage;
    if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
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
