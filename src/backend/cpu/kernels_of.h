#pragma once
#include "backend/cpu/kernel_table.h"
#include "base/cpu.h"

namespace iol::cpu {

/// The kernels compiled for an instruction set.
const KernelTable& kernels_of(Isa isa);

}  // namespace iol::cpu
