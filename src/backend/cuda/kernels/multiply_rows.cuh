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

/// Whether sums may want the norm's factor (OperandRows::squares). It takes registers that
/// finishing many tokens needs: a Format::FactorFree does so for rows that have none.
template <class Format>
concept HasFactor = requires {
  typename Format::FactorFree;
};

/// Dealt rows in units of 128 tokens or more.
template <class Format>
void multiply_many(const LinearTask& task, const WideShape& shape, StreamHandle stream) {
  if constexpr (HasFactor<Format>) {
    if (task.x.squares == nullptr)
      return multiply_many<typename Format::FactorFree>(task, shape, stream);
  } else if constexpr (Format::kSteps == 2 && !Format::kHasGroups) {
    if (is_large(shape)) return launch_large<Format>(task, shape, stream);
  }
  launch_many<Format>(task, shape, stream);
}

/// Dealt rows, in the shape that the task asks for, else in the best for its size.
template <class Format>
void multiply_dealt(const LinearTask& task, StreamHandle stream) {
  const WideShape shape = task.shape.tokens != 0 ? task.shape : wide_shape(task);
  if (shape.tokens > 64) return multiply_many<Format>(task, shape, stream);
  if constexpr (!Format::kAddsStages) {  // few tokens have exact sums
    if (shape.tokens == 16) return launch_few<Format, 16>(shape, task, stream);
    if (shape.tokens == 32) return launch_few<Format, 32>(shape, task, stream);
  }
  launch_few<Format, 64>(shape, task, stream);
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
