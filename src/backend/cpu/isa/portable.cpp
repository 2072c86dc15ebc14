#include "backend/cpu/isa/simd_portable.h"
#include "backend/cpu/isa/table.h"

namespace iol::cpu {

extern const KernelTable kPortableKernels = Kernels<Portable, Bf16PairFormat>::table();

}  // namespace iol::cpu
