#pragma once
// The kernel for a matrix and a number of tokens. All give the same bits, but where a format says
// otherwise.
#include "backend/cuda/kernels/linear_apart.cuh"
#include "backend/cuda/kernels/linear_chain.cuh"
#include "backend/cuda/kernels/linear_large.cuh"
#include "backend/cuda/kernels/linear_wgmma.cuh"
#include "backend/cuda/kernels/linear_wide.cuh"
#include "backend/cuda/kernels/make_row_codes.cuh"
#include "backend/cuda/kernels/make_row_halves.cuh"

namespace iol::cuda {

/// Plain rows.
template <class Format>
void launch_portable(const LinearTask& task, StreamHandle stream) {
  if constexpr (Format::kTakesRing) {
    if (task.num_tokens <= kRingTokens && takes_ring<Format>(task.matrix))
      return launch_ring<Format>(task, stream);
  }
  task.num_tokens > 64 ? launch_wide<Format>(task, stream) : launch_linear<Format>(task, stream);
}

/// Dealt rows, in the shape that the task asks for, else in the best for its size.
template <class Format>
void multiply_dealt(const LinearTask& task, StreamHandle stream) {
  const WideShape shape = task.shape.tokens != 0 ? task.shape : wide_shape(task);
  if constexpr (Format::kSteps == 2 && !Format::kHasGroups) {
    if (is_large(shape)) return launch_large<Format>(task, shape, stream);
  }
  launch_wgmma<Format>(task, shape, stream);
}

template <class Format>
void multiply_rows(const LinearTask& task, StreamHandle stream) {
  if (task.x.form == RowForm::kDealt) return multiply_dealt<Format>(task, stream);
  if (task.x.form == RowForm::kUnmade) {
    using Made = typename Format::Made;
    if constexpr (is_code(Made::kOperand)) {
      return launch_making_codes<Made>(task, stream);
    } else {
      return launch_making_halves<Made>(task, stream);
    }
  }
  launch_portable<Format>(task, stream);
}

}  // namespace iol::cuda
