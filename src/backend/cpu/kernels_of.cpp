#include "backend/cpu/kernels_of.h"

namespace iol::cpu {

const KernelTable& kernels_of(Isa isa) {
  switch (isa) {
#ifdef IOL_X86
    case Isa::kAvx2:
      return kAvx2Kernels;
    case Isa::kAvx2Vnni:
      return kAvx2VnniKernels;
    case Isa::kAvx512:
      return kAvx512Kernels;
    case Isa::kAvx512Vnni:
      return kAvx512VnniKernels;
    case Isa::kAvx512Bf16:
      return kAvx512Bf16Kernels;
    case Isa::kAmx:
      return kAmxKernels;
#endif
    default:
      return kPortableKernels;
  }
}

}  // namespace iol::cpu
