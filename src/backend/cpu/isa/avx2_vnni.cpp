#include "backend/cpu/isa/simd_avx2.h"
#include "backend/cpu/isa/table.h"

namespace iol::cpu {

extern const KernelTable kAvx2VnniKernels = Kernels<Avx2, Bf16PairFormat>::table();

}  // namespace iol::cpu
