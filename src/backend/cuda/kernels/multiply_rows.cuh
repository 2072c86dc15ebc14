#pragma once
// The kernel for a matrix and a number of tokens. All give the same bits, but where a format says
// otherwise.
#include "backend/cuda/kernels/linear_wgmma.cuh"
#include "backend/cuda/kernels/linear_wide.cuh"
#include "backend/cuda/kernels/make_row.cuh"

namespace iol::cuda {

template <class Format>
void multiply_rows(const LinearTask& task, StreamHandle stream) {
  constexpr int kClusterMostRows = 4096;  // matrices with more keep the card busy without
  constexpr int kFewBlocks = 96;          // would leave multiprocessors idle
  if constexpr (Format::kSteps > 0) {
    if (task.x.form == RowForm::kDealt) return launch_wgmma<Format>(task, stream);
    if (task.x.form == RowForm::kUnmade) return launch_making<typename Format::Made>(task, stream);
  }
  const int wide_blocks = (task.matrix.rows / kTileRows + kWideTiles - 1) / kWideTiles *
                          ((task.num_tokens + kWideTokens - 1) / kWideTokens);
  if (task.num_tokens > 64 && (wide_blocks >= kFewBlocks || !can_overlap())) {
    launch_wide<Format>(task, stream);
  } else if (task.num_tokens > 8 && can_overlap() &&
             (task.num_tokens > 64 || task.matrix.rows <= kClusterMostRows)) {
    launch_cluster<Format>(task, stream);
  } else {
    launch_linear<Format>(task, stream);
  }
}

}  // namespace iol::cuda
