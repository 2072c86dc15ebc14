#pragma once
// The end of a product of more than eight tokens by the portable kernels.
#include "backend/cuda/kernels/finish_few.cuh"

namespace iol::cuda {

/// Of a block's kTiles tiles of 16 rows and kColumns times eight tokens: parts of K added in
/// ascending order, results by all threads in turn.
template <class Format, int kTiles, int kColumns>
class ManyFinish {
  static constexpr int kRows = kTiles * kTileRows;
  static constexpr int kStride = kRows + 4;  // of parts
  static constexpr int kTokens = kColumns * 8;

 public:
  __device__ __forceinline__ ManyFinish(const LinearArgs& args, int first_tile, int first_token)
      : args_(args), first_row_(first_tile * kTileRows), first_token_(first_token) {}
  __device__ __forceinline__ void load() const {}
  /// `parts`: [part][token][row], padded.
  __device__ __forceinline__ void finish(const float* parts) const {
    const EpilogueArgs& epilogue = args_.epilogue;
    if (epilogue.kind == Epilogue::kSwiGlu) return finish_pairs(parts);
    for (int i = threadIdx.x; i < kTokens * kRows; i += blockDim.x) {
      const int token = i / kRows;
      const int row = i % kRows;
      const bool valid = first_token_ + token < epilogue.num_tokens;
      const float value = valid ? total(parts, token, row) : 0.0F;
      iol::cuda::finish(epilogue, first_token_ + token, first_row_ + row, value);
      if (epilogue.kind == Epilogue::kLogits)
        offer_best(epilogue, first_token_ + token, first_row_ + row, value, valid);
    }
  }

 private:
  __device__ __forceinline__ void finish_pairs(const float* parts) const {
    for (int i = threadIdx.x; i < kTokens * kRows / 2; i += blockDim.x) {
      const int token = i / (kRows / 2);
      const int place = i % (kRows / 2);
      const int row = place / kTileRows * 2 * kTileRows + place % kTileRows;
      if (first_token_ + token >= args_.epilogue.num_tokens) continue;
      finish_gated(args_.epilogue, first_token_ + token, first_row_ + row, total(parts, token, row),
                   total(parts, token, row + kTileRows));
    }
  }
  [[nodiscard]] __device__ __forceinline__ float total(const float* parts, int token,
                                                       int row) const {
    typename Format::Part sum = 0;
#pragma unroll
    for (int part = 0; part < kNumParts; ++part)
      sum += Format::part(parts[(part * kTokens + token) * kStride + row]);
    return scaled_sum<Format>(args_, first_token_ + token, first_row_ + row, sum);
  }

  const LinearArgs& args_;
  int first_row_;
  int first_token_;
};

}  // namespace iol::cuda
