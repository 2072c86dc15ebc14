#pragma once
#include <cstddef>
#include <cstdint>

#include "backend/cuda/kernels/kernels.h"
#include "request/block_copy.h"

namespace iol::cuda {

/// Copies blocks of all layers between a cache and pinned memory of the host, which the device
/// reads and writes by itself. More than kMostBlockCopies take several tasks.
constexpr int kMostBlockCopies = 256;
struct CopyBlocksTask {
  std::byte* cache = nullptr;    // [num_layers, num_blocks, block_bytes]
  std::byte* host = nullptr;     // [slots, num_layers, block_bytes]
  std::int64_t block_bytes = 0;  // of one layer: a multiple of 32
  std::int64_t layer_bytes = 0;  // num_blocks * block_bytes
  int num_layers = 0;
  bool to_host = false;
  int num_copies = 0;
  BlockCopy copies[kMostBlockCopies];
};
void copy_blocks(const CopyBlocksTask& task, StreamHandle stream);

}  // namespace iol::cuda
