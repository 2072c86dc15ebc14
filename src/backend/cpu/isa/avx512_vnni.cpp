#include "backend/cpu/isa/simd_avx512.h"
#include "backend/cpu/isa/table.h"

namespace iol::cpu {

extern const KernelTable kAvx512VnniKernels = Kernels<Avx512, Bf16PairFormat>::table();

}  // namespace iol::cpu
