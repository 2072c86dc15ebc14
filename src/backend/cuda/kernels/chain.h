#pragma once
// Products of one token, each of the row that the one before it writes - a layer's from attention
// to the next layer's: output, gate and up, down, QKV - in one kernel, for compute capability 9.0.
#include "backend/cuda/kernels/kernels.h"

namespace iol::cuda {

inline constexpr int kMostLinks = 4;
inline constexpr int kLeastLinks = 3;
inline constexpr int kMostChainBlocks = 256;
inline constexpr int kMostNormedColumns = 8192;

/// Device memory of chains, which run one after the other: zero before the first.
struct ChainScratch {
  std::uint32_t arrivals[kMostLinks - 1];             // of blocks at a barrier
  SquareSum squares[kMostNormedColumns / kTileRows];  // see RowTraits
  float largest[kMostLinks - 1][kMostChainBlocks];
};

struct ChainTask {
  const LinearTask* links = nullptr;
  int num_links = 0;
  ChainScratch* scratch = nullptr;
};

/// True when chains alone make the row of that matrix, and a product alone doesn't.
bool chains_make_row(const MatrixView& matrix, int num_tokens);
/// True when there is a kernel that has `product` as a link, the first or another. Its row is
/// unmade, or the operand that the matrix multiplies already.
bool can_be_link(const LinearTask& product, bool is_first);
/// True when `next` multiplies the row that `product` writes, and in the same way. (What a product
/// adds to may be what the product before the last has written, in rows as many.)
bool are_linked(const LinearTask& product, const LinearTask& next);
/// Bytes of weights.
std::int64_t weight_bytes(const ChainTask& task);
/// Blocks of threads: as many as there are multiprocessors, or fewer with which none has more to
/// do.
int chain_blocks(const ChainTask& task);
/// kLeastLinks to kMostLinks products.
void linear_chain(const ChainTask& task, StreamHandle stream);

void chain_bf16(const ChainTask& task, StreamHandle stream);
void chain_f16(const ChainTask& task, StreamHandle stream);
void chain_int8(const ChainTask& task, StreamHandle stream);
void chain_int8_weights(const ChainTask& task, StreamHandle stream);
void chain_fp8(const ChainTask& task, StreamHandle stream);
void chain_int4(const ChainTask& task, StreamHandle stream);

}  // namespace iol::cuda
