#pragma once
// The kernels as plain functions over plain structs: each puts its work on a stream and returns.
// T tokens (rows) of a step; all pointers are device memory.
#include <cstddef>
#include <cstdint>

#include "backend/cuda/matrix_view.h"

struct CUstream_st;

namespace iol::cuda {

using StreamHandle = CUstream_st*;

/// What numbers of activations are in memory.
enum class Element : std::uint8_t { kF32, kF16, kBf16 };

IOL_HOST_DEVICE constexpr int element_bytes(Element element) {
  return element == Element::kF32 ? 4 : 2;
}

/// The upper halves of keys that stand for no token, see best_key().
inline constexpr std::uint32_t kOrderOfNan = 0xffffffffU;
inline constexpr std::uint32_t kOrderOfMinusInfinity = 0x007fffffU;

/// Squares of a row's numbers, added as whole numbers of kSquareUnit: see operand_rows.cuh.
using SquareSum = unsigned long long;
inline constexpr float kSquareUnit = 0x1p-24F;  // rows with squares of up to 10^12 have room

/// What the kernel that writes a row leaves with it, for the kernels that make their left operand
/// of it (make_row.cuh): they needn't read the row to know what it is scaled by.
struct RowTraits {
  SquareSum* squares = nullptr;  // [K / 16] of 16 numbers each; null: not left
  float* largest = nullptr;      // [num_largest] magnitudes, of x * norm; null: not left
  int num_largest = 0;
};

/// What rows of a left operand are made of: x, or RMSNorm(x) * norm.
struct RowSource {
  const void* x = nullptr;  // [T, stride]
  Element element = Element::kF32;
  int stride = 0;
  const float* norm = nullptr;  // [K] or null: no norm
  double eps = 0;
  RowTraits traits;  // of a single row
};

/// Rows of the left operand of a matrix, as its layout asks for them.
struct OperandRows {
  void* values = nullptr;        // [T, padded_columns]: f32, f16, bf16, int8 or E4M3
  float* scales = nullptr;       // [T] of int8 and fp8; [T, groups] of int4, see dealt_scales()
  std::int32_t* sums = nullptr;  // [T, groups] of int4, but dealt: of the row's integers
  // [T] of bf16 rows that the norm's factor is still missing from, or null: sums over K are
  // multiplied by norm_factor() of them, of K columns and eps.
  SquareSum* squares = nullptr;
  float eps = 0;
  // [T] of bf16 rows that codes_rows() makes codes of, or null: bits of each one's largest
  // magnitude. Such rows may have squares, too.
  const std::uint32_t* largest = nullptr;
  RowForm form = RowForm::kPlain;
  RowSource source;  // of RowForm::kUnmade alone
};

/// The scales of dealt rows of int4 are [groups, dealt_scales(T)].
IOL_HOST_DEVICE constexpr int dealt_scales(int num_tokens) { return (num_tokens + 3) / 4 * 4; }

// --- pack.cu

/// Rows of one part of a stacked matrix into their place: row-major elements (2 or 4 bytes), codes
/// (1 byte) or int4 numbers (1 byte each).
struct PackTask {
  MatrixView matrix;
  void* data = nullptr;          // of `matrix`
  const void* source = nullptr;  // [rows, columns]
  int element_bytes = 0;
  int num_rows = 0;
  int first_row = 0;  // of the part, in its own numbering
  int part = 0;       // of num_parts
  int num_parts = 1;
  int base_row = 0;          // stacked row of the part's row 0, when parts are concatenated
  bool interleaved = false;  // 16 rows of each part in turn
};
void pack_rows(const PackTask& task, StreamHandle stream);

// --- embed.cu

struct EmbedTask {
  MatrixView table;
  const std::int32_t* token_ids = nullptr;   // [T], see StepInput
  const unsigned long long* best = nullptr;  // of the step before, see best_key()
  const std::int32_t* positions = nullptr;   // [T]
  const float* inv_freq = nullptr;           // [D / 2]
  float attention_factor = 1.0F;
  int num_tokens = 0;
  int half_dim = 0;
  float* hidden = nullptr;       // [T, K]
  SquareSum* squares = nullptr;  // [num_squares, kMostNormedTokens] that become zero, or null
  int num_squares = 0;
  std::uint32_t* largest = nullptr;  // [num_largest, kMostCodedTokens] likewise
  int num_largest = 0;
  float* cosine = nullptr;  // [T, D / 2]
  float* sine = nullptr;    // [T, D / 2]
};
void embed(const EmbedTask& task, StreamHandle stream);

// --- prepare_rows.cu

/// Left operands: out = quantize(RMSNorm(x) * weight), each part where it is wanted.
struct PrepareTask {
  RowSource source;
  const std::int32_t* row_index = nullptr;  // [T] or null: row i is made of x[row_index[i]]
  int num_rows = 0;
  MatrixView matrix;  // what the rows are multiplied with
  OperandRows out;
  unsigned long long* best = nullptr;  // [T] or null: zero afterwards, for Epilogue::kLogits
};
void prepare_rows(const PrepareTask& task, StreamHandle stream);
/// Longer rows (but for padding) have no kernel.
inline constexpr int kMostPreparedColumns = 32768;

// --- linear_*.cu

enum class Epilogue : std::uint8_t {
  kStore,   // out = x W^T + bias, f32
  kAdd,     // out += x W^T + bias, f32
  kSwiGlu,  // out = silu(gate) * up, tiles of gate and up in turn
  kLogits,  // kStore, and the largest of a row into best[row]
};

/// A unit of work of linear_wgmma.cuh or, where is_large(), linear_large.cuh, and how blocks of
/// threads share all of them.
struct WideShape {
  int tokens = 0;  // 16, 32, 64, 128 or 256
  int split = 1;   // blocks that share it, each with parts of K: 1; of up to 64 tokens 4 or 8, of
                   // more 2
  int rows = 128;  // a multiple of 32, up to 128; of 128 tokens (int4: 64) up to 192
  // 0: a block takes whole units, one after the other. Else so many blocks take equal numbers of
  // parts of K of the units that have the same tokens, one behind the other.
  int sharers = 0;
  // The blocks that split a unit aren't a cluster but meet in device memory; up to 64 tokens.
  bool is_apart = false;
  bool operator==(const WideShape&) const = default;
};

/// True for units that have one sum over all of K.
constexpr bool is_large(const WideShape& shape) {
  return shape.tokens == 256 || (shape.tokens == 128 && shape.split == 2);
}

/// True when a warpgroup of its own finishes units while others multiply the next: where registers
/// are left for it, and where it pays. With 128 tokens its room for sums makes the ring too short
/// for 16-bit weights (bf16, 256 tokens, 6144 x 4096: 28.7 us without, 33.7 with it; fp8, 2,048
/// tokens, 11264 x 2048: 130 without, 113).
constexpr bool has_finisher(int tokens, int split, int rows, bool has_groups, bool adds_stages) {
  return split == 1 && rows <= 128 && !has_groups &&
         (tokens == 64 || (tokens == 128 && adds_stages));
}

/// Where blocks leave sums of units that others end, see shared_sums.cuh.
struct SumExchange {
  float* sums = nullptr;               // [kMostSharers][kMostGroups][threads][kMostSharedSums]
  std::uint32_t* are_there = nullptr;  // [kMostSharers][kMostGroups], zero between products
};
inline constexpr int kMostSharers = 144;
inline constexpr int kMostGroups = 3;       // of a block, 128 threads each
inline constexpr int kMostSharedSums = 64;  // of a thread
inline constexpr std::size_t kExchangeFlagBytes = std::size_t{kMostSharers} * kMostGroups * 4;
inline constexpr std::size_t kExchangeSumBytes = kExchangeFlagBytes * 128 * kMostSharedSums;

/// What a product leaves of the rows that it adds to, beside these, for the product that multiplies
/// them next: see OperandRows.
struct NormedRows {
  std::uint16_t* values = nullptr;  // [T, out_columns] bf16; null: none
  SquareSum* squares = nullptr;     // [T] what the rows' squares are added to
  int run = 0;                      // of rows that are dealt, see dealt_column()
};

struct LinearTask {
  MatrixView matrix;
  OperandRows x;
  int num_tokens = 0;
  const float* bias = nullptr;  // [N padded] or null
  Epilogue epilogue = Epilogue::kStore;
  void* out = nullptr;  // [T, out_stride]
  Element out_element = Element::kF32;
  int out_stride = 0;
  int out_columns = 0;                 // valid columns of out
  int out_run = 0;                     // of rows of out that are dealt, see dealt_column()
  bool is_exact = false;               // has the bits that its tokens have alone
  WideShape shape;                     // for rows that aren't plain; chosen when 0 tokens
  SumExchange exchange;                // null: no shape with sharers
  unsigned long long* best = nullptr;  // [T], see best_key()
  RowTraits left;                      // of the row written, a number for each tile of `matrix` (a
                                       // pair, gated); left by kUnmade products of codes alone
  const float* next_norm = nullptr;    // [out_columns] that rows are multiplied by next
  NormedRows next;                     // of kAdd, where leaves_normed_rows()
  // [T] of kSwiGlu in bf16, or of kAdd that leaves rows, or null: they become no less than the bits
  // of the largest magnitude of each row before it was rounded, for codes_rows() of the next one.
  std::uint32_t* next_largest = nullptr;
};
void linear(const LinearTask& task, StreamHandle stream);
/// How `matrix` wants that many rows of x; `is_exact`: no instruction that keeps fewer bits of a
/// sum than f32 has.
RowForm row_form(const MatrixView& matrix, int num_tokens, bool is_exact);
/// True when the product of rows makes them itself, RowForm::kUnmade: it is one and, where codes
/// are made of a row with a norm, its squares are known.
bool can_make_row(const MatrixView& matrix, int num_tokens, const RowSource& source);
/// True when a product with `matrix` of so many tokens can leave the next one's rows: kAdd
/// NormedRows; of up to kMostCodedTokens, kSwiGlu as well, LinearTask::next_largest.
bool leaves_normed_rows(const MatrixView& matrix, int num_tokens, bool is_exact);
/// The most tokens of such a product.
inline constexpr int kMostNormedTokens = 128;
/// True when the product of so many bf16 rows makes codes of them itself, as each block of weights
/// needs them, and only wants to know the largest magnitude of each: see code_rows.cuh.
bool codes_rows(const MatrixView& matrix, int num_tokens);
inline constexpr int kMostCodedTokens = 8;
/// True for operands of bf16, whose rows may want the norm's factor.
IOL_HOST_DEVICE constexpr bool defers_norm(MatrixLayout layout) {
  return layout == MatrixLayout::kBf16 || layout == MatrixLayout::kInt8Bf16;
}
/// True when there is a kernel of that shape for the task.
bool has_shape(const LinearTask& task, const WideShape& shape);
/// Sharers with which a product in that shape has a block on each multiprocessor.
int most_sharers(const LinearTask& task, const WideShape& shape);
/// The shape that takes the least time: waves of blocks, and the time of a wave.
WideShape wide_shape(const LinearTask& task);
void linear_bf16(const LinearTask& task, StreamHandle stream);
void linear_f16(const LinearTask& task, StreamHandle stream);
void linear_int8(const LinearTask& task, StreamHandle stream);
void linear_int8_weights(const LinearTask& task, StreamHandle stream);
void linear_fp8(const LinearTask& task, StreamHandle stream);
void linear_int4(const LinearTask& task, StreamHandle stream);
void linear_rows(const LinearTask& task, StreamHandle stream);

// --- rope_append.cu, attention.cu, attention_f32.cu

enum class CacheElement : std::uint8_t { kF32, kF16, kBf16, kInt8, kFp8 };

constexpr bool is_coded(CacheElement element) {
  return element == CacheElement::kInt8 || element == CacheElement::kFp8;
}
IOL_HOST_DEVICE constexpr int cache_element_bytes(CacheElement element) {
  if (element == CacheElement::kF32) return 4;
  return element == CacheElement::kInt8 || element == CacheElement::kFp8 ? 1 : 2;
}

/// Where a layer's keys and values live: [block][kv head]{ keys, values, key scales, value scales
/// }, keys and values as [block_size / 16] runs of 16 positions, see cache_offset().
/// int8 and fp8 have one f32 scale for each position's key and value, [block_size] each. Codes are
/// numbers everywhere, also where nothing has been written yet, scales may be NaN.
struct CacheView {
  std::byte* data = nullptr;
  CacheElement element = CacheElement::kBf16;
  int block_size = 16;
  int head_dim = 0;
  int num_kv_heads = 0;
  std::int64_t block_bytes = 0;
  std::int64_t head_bytes = 0;
};

/// Where element d of the key or value of a position is among a head's keys or values of a block,
/// in elements. A run lies as operand B of matrix instructions: rows are positions of keys and
/// elements of values, k the other.
///
///   16 bits  tiles of 8 rows by 16 k, as wgmma has them with 32-byte swizzle: of rows 4 to 7 the
///            halves of k are exchanged. Keys [2][D / 16][tile], values [D / 16][2][tile].
///   others   units of 16 rows by 16 k, [D / 16][unit], as lanes hold them for mma: lane 4 g + q
///            has rows g, then g + 8; k = 4 q .. 4 q + 3
IOL_HOST_DEVICE constexpr int cache_offset(int element_bytes, int head_dim, bool is_value,
                                           int position, int d) {
  const int units = head_dim / 16;
  const int run = position / 16 * units * 256;
  const int row = is_value ? d % 16 : position % 16;
  const int k = is_value ? position % 16 : d % 16;
  if (element_bytes != 2)
    return run + d / 16 * 256 + (row % 8 * 4 + k / 4) * 8 + row / 8 * 4 + k % 4;
  const int tile = is_value ? d / 16 * 2 + row / 8 : row / 8 * units + d / 16;
  return run + tile * 128 + row % 8 * 16 + (k / 8 ^ row % 8 / 4) * 8 + k % 8;
}

/// The part of a sequence that a step computes.
struct Slice {
  std::int32_t first_token;
  std::int32_t num_tokens;  // 0: padding of the batch
  std::int32_t first_position;
  std::int32_t first_entry;  // of its block table in `tables`
};

/// 16 (decode) or 128 (prefill) rows of a slice; a row is a token and a query head of the group.
struct AttentionTile {
  std::int32_t slice;
  std::int32_t first_row;
};

struct RopeAppendTask {
  const float* qkv = nullptr;  // [T, (Nq + 2 Nkv) D]
  const float* q_norm = nullptr;
  const float* k_norm = nullptr;
  double eps = 0;
  const float* cosine = nullptr;
  const float* sine = nullptr;
  const std::int32_t* positions = nullptr;  // [T]
  const std::int32_t* blocks = nullptr;     // [T] the cache block of the token, or -1: don't append
  const std::int32_t* tokens = nullptr;  // [num_tokens] those that rope_append() takes; null: all
  int num_tokens = 0;
  int num_heads = 0;
  CacheView cache;
  void* queries = nullptr;  // [T, Nq D]
  Element query_element = Element::kBf16;
  // [T, Nq] powers of two that queries are divided by, beside f16 queries and a cache of codes;
  // else null.
  float* query_scales = nullptr;
};
void rope_append(const RopeAppendTask& task, StreamHandle stream);

/// Positions of a chunk: softmax and values are computed chunk by chunk, and chunks are merged in
/// ascending order.
inline constexpr int kChunkPositions = 256;
inline constexpr int kDecodeTileRows = 16;
inline constexpr int kMostDecodeTokens = 17;  // of a slice: a decode and the longest draft
inline constexpr int kPrefillTileRows = 128;
inline constexpr int kMostPrefillHeadDim = 128;  // larger heads go in tiles of 16 rows

struct AttentionTask {
  CacheView cache;
  const Slice* slices = nullptr;
  const AttentionTile* tiles = nullptr;
  int num_tiles = 0;
  const std::int32_t* tables = nullptr;
  int num_tokens = 0;
  int num_heads = 0;
  int window = 0;  // 0: all
  float scale = 1.0F;
  const void* queries = nullptr;  // [T, Nq D]
  Element query_element = Element::kBf16;
  const float* query_scales = nullptr;  // see RopeAppendTask
  void* out = nullptr;                  // [T, out_stride]
  Element out_element = Element::kF32;
  int out_stride = 0;
  int out_run = 0;                  // see dealt_column()
  int tile_rows = kDecodeTileRows;  // or kPrefillTileRows
  int max_chunks = 1;               // of what a tile of 16 rows sees
  // attention() of such tiles: a block of threads for each chunk.
  bool split = false;
  // attention_decode(): of each slice the first token whose row is wanted; null: 0.
  const std::int32_t* first_queries = nullptr;
  // attention_decode(): up to `shares` blocks for a slice whose first_partials[] isn't negative.
  const std::int32_t* first_partials = nullptr;
  int shares = 1;
  float* partial_sums = nullptr;   // [entries, 16, D]: (tile, kv head, chunk) or (chunk, kv head)
  float* partial_stats = nullptr;  // [entries, 16, 2]: maximum, sum
  int* arrivals = nullptr;         // [tiles, kv heads], zero between kernels
  // attention_decode(): [T] of rows of out, or null, as LinearTask::next_largest.
  std::uint32_t* next_largest = nullptr;
  bool waits_long = false;  // attention_decode(): behind a chain of products
};
/// With tensor cores; queries bf16 or f16 as the cache is, f16 beside codes; cache not f32.
void attention(const AttentionTask& task, StreamHandle stream);
/// Of prefill tiles, which all have rows, with wgmma; attention() calls it where there is such a
/// kernel.
void attention_prompts(const AttentionTask& task, StreamHandle stream);
bool attention_takes_prompts(const CacheView& cache);

/// Rotation, append and attention of the first `num_tiles` slices, of which at most 16 rows are
/// wanted; instead of rope_append() and attention(), with their bits. A slice of more rows comes
/// several times, up to the last token of each tile: all of them append what is in front of it.
void attention_decode(const AttentionTask& task, const RopeAppendTask& heads, StreamHandle stream);
/// True when there is such a kernel for the cache.
bool attention_decodes(const CacheView& cache);

/// In f32, any cache, one block of threads for each token and head. `token_slices` [T].
void attention_f32(const AttentionTask& task, const std::int32_t* token_slices,
                   StreamHandle stream);

// --- limits.cu, limits_wgmma.cu

/// Reads `bytes` of `data`; `sink` keeps the loads alive.
void read_all(const void* data, std::size_t bytes, unsigned* sink, StreamHandle stream);
/// Multiply-accumulates on registers; returns the operations of one call.
double run_peak(int which, unsigned* sink, StreamHandle stream);
/// The same with wgmma, on compute capability 9.0 alone.
enum class WgmmaPeak : std::uint8_t { kBf16, kF16, kInt8, kFp8 };
double run_wgmma_peak(WgmmaPeak which, unsigned* sink, StreamHandle stream);

}  // namespace iol::cuda
