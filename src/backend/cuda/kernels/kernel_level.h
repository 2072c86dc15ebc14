#pragma once
// Which kernels run, and on what.

namespace iol::cuda {

/// Kernels of compute capability 9.0: programmatic dependent launch, clusters, wgmma and the copy
/// engine. True on such a GPU, but when the environment has IOL_CUDA_KERNELS=portable, which takes
/// the kernels of 8.0 there too.
bool takes_hopper_kernels();

// Of the current device.
int multiprocessors();
int shared_bytes_of_multiprocessor();
int most_shared_bytes_of_block();
/// Kernels of other processes may run beside ours (MPS).
bool is_shared_with_processes();

/// Throws InputError when IOL_CUDA_KERNELS is set to anything but `portable` and `auto`.
void check_kernel_level();

}  // namespace iol::cuda
