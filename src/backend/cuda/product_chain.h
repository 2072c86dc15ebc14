#pragma once
// Products that have been asked for and not begun, since a kernel of several may take them all: see
// kernels/chain.h. The blocks of such a kernel wait for each other, so one ProductChain of the
// process has them at a time; others have a kernel for each product.
#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernels/chain.h"

namespace iol::cuda {

/// Begins a product by a kernel of its own, behind one that makes its row where that is unmade and
/// chains alone make it (chains_make_row()): in the place that the product names beside the source.
void multiply_alone(LinearTask product, const Stream& stream);

class ProductChain {
 public:
  /// `stream` outlives it.
  explicit ProductChain(const Stream& stream);

  /// True when a product that a chain may take wants its row unmade, though a product alone can't
  /// make it, see multiply_alone().
  [[nodiscard]] bool makes_row(const MatrixView& matrix, int num_tokens) const {
    return right_.is_ours() && chains_make_row(matrix, num_tokens);
  }

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
