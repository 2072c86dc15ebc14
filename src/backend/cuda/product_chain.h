#pragma once
// Products that have been asked for and not begun, since a kernel of several may take them all: see
// kernels/chain.h. The blocks of such a kernel wait for each other, so one ProductChain of the
// process has them at a time; others have a kernel for each product.
#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernels/chain.h"

namespace iol::cuda {

class ProductChain {
 public:
  /// `stream` outlives it.
  explicit ProductChain(const Stream& stream);

  /// `product` is begun now or by flush(), behind those before it.
  void multiply(const LinearTask& product);
  /// Begins all products. Other work on the stream that has to do with them comes behind it. True:
  /// one kernel takes them all.
  bool flush();
  /// Products that weren't begun, of a step that failed, never are.
  void forget() { num_links_ = 0; }

 private:
  /// To have such kernels; whoever is first has it.
  class Right {
   public:
    Right();
    ~Right();
    Right(const Right&) = delete;
    Right& operator=(const Right&) = delete;
    [[nodiscard]] bool is_ours() const { return is_ours_; }

   private:
    bool is_ours_;
  };

  const Stream* stream_;
  Right right_;
  DeviceBuffer scratch_;
  LinearTask links_[kMostLinks];
  int num_links_ = 0;
};

}  // namespace iol::cuda
