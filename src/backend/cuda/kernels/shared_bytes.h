#pragma once

namespace iol::cuda {

/// Lets blocks of a kernel have so much dynamic shared memory on the current device. What was
/// allowed is remembered, since every launch asks. An error is left to the launch.
void allow_shared_bytes(const void* kernel, int bytes);

}  // namespace iol::cuda
