#pragma once
// How a weight matrix [N, K] lies in device memory.
//
// Matrices for the tensor cores are kept in the order in which the lanes of a warp hold operand A
// of an mma instruction, so that a warp reads a block with loads of 16 bytes to a lane that follow
// each other in memory. A tile is 16 rows, a block 64 bytes of K to a row (int4: 32 bytes). Within
// a block the numbers of K are dealt to the lanes in runs: lane 4 g + q holds rows g and g + 8, and
// of K the run q - as the lanes hold the left operand, which is read from plain rows. A sum over K
// doesn't mind the order.
#include <cstdint>

#ifdef __CUDACC__
#define IOL_HOST_DEVICE __host__ __device__
#else
#define IOL_HOST_DEVICE
#endif

namespace iol::cuda {

inline constexpr int kTileRows = 16;
/// K is summed up in this many contiguous parts, which are then added in ascending order - whatever
/// the number of tokens, so that a token's result doesn't depend on it.
inline constexpr int kNumParts = 8;

enum class MatrixLayout : std::uint8_t {
  kF32Rows,   // plain rows of f32
  kInt8Rows,  // plain rows of int8, multiplied by f32
  kBf16,      // blocks of 32 bf16
  kF16,       // blocks of 32 f16
  kInt8,      // blocks of 64 int8, multiplied by int8
  kInt8Bf16,  // blocks of 64 int8, multiplied by bf16
  kInt8F16,   // blocks of 64 int8, multiplied by f16
  kFp8,       // blocks of 64 E4M3, multiplied by E4M3
  kInt4,      // blocks of 64 int4, multiplied by int8
};

constexpr bool is_plain_rows(MatrixLayout layout) {
  return layout == MatrixLayout::kF32Rows || layout == MatrixLayout::kInt8Rows;
}
/// Multiplies codes that have a scale for each row of the left operand.
IOL_HOST_DEVICE constexpr bool is_coded(MatrixLayout layout) {
  return layout == MatrixLayout::kInt8 || layout == MatrixLayout::kFp8;
}
constexpr bool is_half(MatrixLayout layout) {
  return layout == MatrixLayout::kBf16 || layout == MatrixLayout::kF16;
}

struct MatrixView {
  const void* data = nullptr;
  MatrixLayout layout = MatrixLayout::kF32Rows;
  int rows = 0;            // N, padded to 64
  int columns = 0;         // K
  int padded_columns = 0;  // elements of a row of the left operand, padding included
  int group_size = 0;      // int4: columns that share a scale
  int padded_group = 0;    // int4: group_size rounded up to 32; where a group starts in a row
  int num_groups = 0;      // int4
  const float* scales = nullptr;              // [N]; int4: [N / 16][groups][16]
  const std::uint8_t* zeros = nullptr;        // int4: [N / 16][groups][16]
  const std::int32_t* input_order = nullptr;  // [K] or null: stored column j multiplies this input
};

/// Blocks of K in a row of tiles.
IOL_HOST_DEVICE constexpr int num_blocks(const MatrixView& matrix) {
  return matrix.padded_columns / (is_half(matrix.layout) ? 32 : 64);
}

/// Where column `column` of an int4 matrix is put: groups are padded.
IOL_HOST_DEVICE constexpr int padded_column(const MatrixView& matrix, int column) {
  return matrix.layout == MatrixLayout::kInt4
             ? column / matrix.group_size * matrix.padded_group + column % matrix.group_size
             : column;
}

/// Byte at which element (row, column) begins; of int4 the byte that holds it. `column` is padded.
IOL_HOST_DEVICE constexpr std::int64_t element_offset(const MatrixView& matrix, int row,
                                                      int column) {
  if (matrix.layout == MatrixLayout::kF32Rows)
    return (static_cast<std::int64_t>(row) * matrix.padded_columns + column) * 4;
  if (matrix.layout == MatrixLayout::kInt8Rows)
    return static_cast<std::int64_t>(row) * matrix.padded_columns + column;
  const std::int64_t tile = row / kTileRows;
  const int half = row % kTileRows / 8;
  const int g = row % 8;
  const std::int64_t blocks = num_blocks(matrix);
  if (is_half(matrix.layout)) {  // a run is 8 numbers, two vectors of 4
    const int k = column % 32;
    const int lane = g * 4 + k / 8;
    return ((tile * blocks + column / 32) * 2 + k % 8 / 4) * 512 + lane * 16 +
           (k % 4 / 2 * 2 + half) * 4 + k % 2 * 2;
  }
  const int k = column % 64;
  if (matrix.layout == MatrixLayout::kInt4) {  // two runs of 8 numbers
    const int lane = g * 4 + k % 32 / 8;
    return (tile * blocks + column / 64) * 512 + lane * 16 + k / 32 * 8 + half * 4 + k % 4;
  }
  const int lane = g * 4 + k / 16;  // a run is 16 numbers, two vectors of 8
  return ((tile * blocks + column / 64) * 2 + k % 16 / 8) * 512 + lane * 16 +
         (k % 8 / 4 * 2 + half) * 4 + k % 4;
}

/// How a row of the left operand lies in memory.
enum class RowForm : std::uint8_t {
  kPlain,    // column after column
  kUnmade,   // not yet: each block of the product makes the row, see make_row.cuh
  kDealt,    // for linear_wgmma.cuh
  kWidened,  // dealt, and E4M3 codes are f16 numbers
};

/// The left operand of linear_wgmma.cuh is dealt: its rows are in the order in which the four lanes
/// of a quad hold the weights' columns, so that a plain copy in shared memory is operand B of
/// wgmma. A row is pieces of 4 bytes; of each run of `run` pieces that a lane takes in
/// linear_tile.cuh, piece i goes to the four lanes' i-th pieces. 0: the form isn't dealt.
IOL_HOST_DEVICE constexpr int run_pieces(MatrixLayout layout, RowForm form) {
  if (form == RowForm::kPlain || form == RowForm::kUnmade) return 0;
  if (layout == MatrixLayout::kInt4) return 2;
  const bool has_bytes_times_halves = layout == MatrixLayout::kInt8Bf16 ||
                                      layout == MatrixLayout::kInt8F16 || form == RowForm::kWidened;
  return has_bytes_times_halves ? 8 : 4;
}
/// Where element `column`, of `bytes` bytes, is put in a row dealt in runs of `run` pieces (2, 4 or
/// 8); 0: in a row that isn't dealt.
IOL_HOST_DEVICE constexpr int dealt_column(int column, int bytes, int run) {
  if (run == 0) return column;
  const int in_piece = 4 / bytes;
  const int piece = column / in_piece;
  const int in_block = piece & (4 * run - 1);
  const int lane = in_block >> (run == 8 ? 3 : run == 4 ? 2 : 1);
  const int place = (in_block & (run - 1)) * 4 + lane;
  return (piece - in_block + place) * in_piece + column % in_piece;
}

/// Bits by which an int4 number is shifted in its byte.
IOL_HOST_DEVICE constexpr int int4_shift(int column) { return column % 8 < 4 ? 0 : 4; }

/// Blocks [begin, end) of part `part` of K. Parts of int4 matrices start at groups.
struct BlockRange {
  int begin;
  int end;
};
IOL_HOST_DEVICE constexpr BlockRange part_blocks(const MatrixView& matrix, int part) {
  const int blocks = num_blocks(matrix);
  int unit = 1;
  if (matrix.layout == MatrixLayout::kInt4)
    unit = matrix.padded_group % 64 == 0 ? matrix.padded_group / 64 : matrix.padded_group / 32;
  const int units = (blocks + unit - 1) / unit;
  const int begin = part * units / kNumParts * unit;
  const int end = (part + 1) * units / kNumParts * unit;
  return {begin, end < blocks ? end : blocks};
}

}  // namespace iol::cuda
