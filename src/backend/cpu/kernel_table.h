#pragma once
// The kernels of one instruction-set level, as plain functions over plain structs: the files under
// isa/ are compiled with flags of their own and must not instantiate standard-library code (see
// cmake/iol_cpu_kernels.cmake).
//
// Every function computes one thread's share. None allocates, locks or throws.
#include <cstddef>
#include <cstdint>

namespace iol::cpu {

/// Columns (output features) in a panel of a packed matrix: what one pass over K produces for a
/// row.
inline constexpr std::int64_t kPanelColumns = 64;
/// Columns in a block: one f32 vector of 16 lanes.
inline constexpr std::int64_t kBlockColumns = 16;
/// Tokens whose partial sums a thread keeps between two blocks of K.
inline constexpr std::int64_t kRowBlock = 512;
/// K is walked in blocks of at most this many elements, so that a panel's block stays in the L2
/// cache.
inline constexpr std::int64_t kColumnBlock = 2048;
/// Columns of one-byte weights that are widened at a time, so that they stay in the L1 cache.
inline constexpr std::int64_t kWideColumns = 256;
/// Panels whose partial sums a thread keeps at a time.
inline constexpr std::int64_t kPanelsTogether = 4;
/// Partial sums [kPanelsTogether, kRowBlock, 64] and a block of widened weights.
inline constexpr std::size_t kLinearScratchBytes =
    sizeof(float) * (kPanelsTogether * kRowBlock + kWideColumns) * kPanelColumns;
/// Attention: positions per online-softmax chunk (chunks start at multiples of it) and query rows
/// per tile.
inline constexpr std::int64_t kChunkPositions = 128;
inline constexpr std::int64_t kQueryRows = 32;
/// Positions in a key tile; a cache block holds a multiple of it.
inline constexpr std::int64_t kKeyTile = 16;

/// What numbers in memory are. int8 weights are multiplied by int8 activations, those of
/// kInt8WeightOnly by f32 or bf16 ones.
enum class Element : std::uint8_t { kF32, kF16, kBf16, kInt8, kInt8WeightOnly, kFp8, kInt4 };

/// A group of int4 weights of a panel: f32 scales [64], u8 zeros [64], [group / 8][64][4] bytes.
inline constexpr std::int64_t kInt4ZerosOffset = 4 * kPanelColumns;
inline constexpr std::int64_t kInt4ValuesOffset = 5 * kPanelColumns;
constexpr std::int64_t int4_group_bytes(std::int64_t group_size) {
  return kInt4ValuesOffset + group_size / 2 * kPanelColumns;
}

/// What happens to a tile of x W^T when its sum over K is complete.
enum class Epilogue : std::uint8_t {
  kStore,   // out = x W^T + bias
  kAdd,     // out += x W^T + bias
  kSwiGlu,  // out = silu(gate) * up, gate and up interleaved in blocks of 16 columns
};

/// x W^T for a packed W (see PackedMatrix). M tokens, K padded columns, panels of 64 rows of W.
///
/// The format of the weights says what x is, and what scales go with it:
///   f32, f16           x f32
///   bf16               x f32, or bf16 where the table says so
///   int8-wo, fp8       x likewise; out = sum * weight_scales[n] (* x_scales[m], where given)
///   int8               x int8 + 128 as u8 (QuantizeTask); exact i32 sums:
///                      out = (sum over k of x[m][k] w[n][k] - 128 * sum over k of w[n][k])
///                            * x_scales[m] * weight_scales[n]
///   int4               x int8 in groups along K (QuantizeGroupsTask); see isa/linear_int4.h
struct LinearTask {
  const void* x = nullptr;            // [M, x_stride]
  Element x_element = Element::kF32;  // kF32 or kBf16; of int8 and int4 not looked at
  std::int64_t x_stride = 0;          // elements
  const std::byte* weights = nullptr;
  Element weight_element = Element::kF32;
  std::int64_t num_tokens = 0;                   // M
  std::int64_t num_columns = 0;                  // K, padded
  std::int64_t group_size = 0;                   // int4: columns that share a scale
  const float* x_scales = nullptr;               // [M]; int4: [M, K / group_size]
  const std::int32_t* x_sums = nullptr;          // int4: [M, K / group_size]
  const float* weight_scales = nullptr;          // [panels * 64]
  const std::int32_t* weight_offsets = nullptr;  // [panels * 64], -128 * row sum; int8
  const float* bias = nullptr;                   // [panels * 64] or null
  Epilogue epilogue = Epilogue::kStore;
  float* out = nullptr;  // [M, out_stride] f32 (kStore, kAdd)
  void* out_activation =
      nullptr;  // [M, out_stride] in the element that the next matrix wants (kSwiGlu)
  Element out_element = Element::kF32;
  std::int64_t out_stride = 0;   // elements
  std::int64_t out_columns = 0;  // valid columns of `out`; the rest of the last panel is dropped
};

/// One row of activations as int8 + 128 and its scale: round(x / scale), scale = max |x| / 127.
struct QuantizeTask {
  const void* x = nullptr;  // [size], f32 or bf16
  Element element = Element::kF32;
  std::int64_t size = 0;        // multiple of 16
  std::uint8_t* out = nullptr;  // [size]
  float* scale = nullptr;       // 0 for a row of zeros
};

/// One row of activations as E4M3 numbers, kept in the element that matrices are multiplied with:
/// e4m3(x / scale), scale = max |x| / 448.
struct QuantizeFp8Task {
  const void* x = nullptr;  // [size], f32 or bf16
  Element element = Element::kF32;
  std::int64_t size = 0;  // multiple of 16
  void* out = nullptr;    // [size]; may be x itself
  Element out_element = Element::kF32;
  float* scale = nullptr;  // 0 for a row of zeros
};

/// One row of activations as int8 in groups, each with its scale and the sum of its integers:
/// round(x / scale), scale = max |x| of the group / 127.
struct QuantizeGroupsTask {
  const void* x = nullptr;  // [size], f32 or bf16
  Element element = Element::kF32;
  const std::int32_t* order = nullptr;  // [size] or null: out[j] is made of x[order[j]]
  std::int64_t size = 0;
  std::int64_t group_size = 0;   // multiple of 16 that divides size
  std::int8_t* out = nullptr;    // [size]
  float* scales = nullptr;       // [size / group_size]
  std::int32_t* sums = nullptr;  // [size / group_size]
};

/// RMSNorm over one row: out = x / sqrt(mean(x^2) + eps) * weight.
struct RmsNormTask {
  const float* x = nullptr;       // [size]
  const float* weight = nullptr;  // [size]
  std::int64_t size = 0;          // multiple of 16, or padded with zeros to one
  double eps = 0;
  void* out = nullptr;  // [size]
  Element out_element = Element::kF32;
};

/// One head of one token after the QKV projection: optional RMSNorm, then rotation.
/// Halves are rotated against each other: y_i = x_i cos_i - x_{i+D/2} sin_i (Hugging Face's
/// convention).
struct RopeTask {
  float* head = nullptr;          // [D], in place
  const float* norm = nullptr;    // [D] or null
  const float* cosine = nullptr;  // [D / 2]
  const float* sine = nullptr;    // [D / 2]
  std::int64_t head_dim = 0;
  double eps = 0;
};

/// Where a layer's keys and values live. A block holds, per key-value head, key tiles
/// [block_size / 16][D / step][16][step] and then values [block_size][D].
///
/// In int8 and fp8 (E4M3) an element is a code of one byte; a position's key and value have an f32
/// scale each:
///   keys   [block_size / 16][D / 4][16 positions][4], scales [block_size]
///   values [block_size / 4][D][4 positions], scales [block_size]
struct CacheView {
  std::byte* layer = nullptr;    // first block of the layer
  std::int64_t block_bytes = 0;  // of one block of this layer, all heads
  std::int64_t head_bytes = 0;   // of one head in a block: keys, then values
  std::int64_t block_size = 0;   // positions
  std::int64_t head_dim = 0;
  Element element = Element::kF32;
};

/// Where a head's values begin: behind its keys.
constexpr std::int64_t cache_values_offset(const CacheView& cache) { return cache.head_bytes / 2; }

/// Writes one position's key and value of one head. int8 and fp8 are rounded to nearest, ties to
/// even: scale = max |x| / most, code = x * (most / max |x|), with most = 127 or 448. What
/// has NaN or infinity in it gets a scale of NaN, so that nobody takes it for numbers.
struct AppendTask {
  CacheView cache;
  std::int64_t block = 0;
  std::int64_t offset = 0;  // position inside the block
  std::int64_t kv_head = 0;
  const float* key = nullptr;    // [D]
  const float* value = nullptr;  // [D]
};

/// Attention of the tokens [first_token, first_token + num_tokens) of one sequence, for the query
/// heads of one key-value head. num_tokens * group <= kQueryRows.
struct AttentionTask {
  CacheView cache;
  const std::int32_t* block_table = nullptr;
  std::int64_t kv_head = 0;
  std::int64_t group = 0;  // query heads per key-value head
  std::int64_t num_tokens = 0;
  std::int64_t first_position = 0;  // of the first token
  std::int64_t window = 0;          // a token sees this many positions, itself included; 0: all
  const float* queries = nullptr;   // first token's first head of the group: [tokens, query_stride]
  std::int64_t query_stride = 0;    // elements between tokens
  float scale = 1.0F;
  void* out = nullptr;  // like `queries`, in the element that the output projection wants
  std::int64_t out_stride = 0;
  Element out_element = Element::kF32;
  std::byte* scratch = nullptr;  // kAttentionScratchBytes, 64-byte aligned
};

/// Largest head_dim that the attention scratch has room for.
inline constexpr std::int64_t kMaxHeadDim = 256;
/// A tile's working set.
inline constexpr std::size_t kAttentionTileBytes =
    sizeof(float) * (kQueryRows * (2 * kMaxHeadDim + kChunkPositions + 2) + 2 * kChunkPositions);
/// And keys or values of a chunk in bf16.
inline constexpr std::size_t kAttentionScratchBytes =
    kAttentionTileBytes + 2 * kChunkPositions * kMaxHeadDim;

struct ArgMax {
  float value;
  std::int32_t index;
};

/// Runs arithmetic on registers alone, for this many rounds; returns the number of operations.
using PeakKernel = std::int64_t (*)(std::int64_t rounds);

struct KernelTable {
  /// True when bf16 weights are multiplied by bf16 activations (a dot-product instruction); else
  /// f32.
  bool bf16_activations;

  /// Panels [first_panel, last_panel). `partial` is scratch of the calling thread,
  /// kLinearScratchBytes, 64-byte aligned.
  void (*linear)(const LinearTask& task, std::int64_t first_panel, std::int64_t last_panel,
                 float* partial);
  void (*quantize)(const QuantizeTask& task);
  void (*quantize_fp8)(const QuantizeFp8Task& task);
  void (*quantize_groups)(const QuantizeGroupsTask& task);
  void (*rms_norm)(const RmsNormTask& task);
  void (*rope)(const RopeTask& task);
  void (*append)(const AppendTask& task);
  void (*attention)(const AttentionTask& task);
  /// Largest of values[begin, end), or NaN where there is one; the lowest index among equals.
  ArgMax (*argmax)(const float* values, std::int64_t begin, std::int64_t end);
  /// Sum of e^(values[i] - shift): f32 exponentials, a double sum.
  double (*sum_exp)(const float* values, std::int64_t count, float shift);

  PeakKernel peak_f32;
  PeakKernel peak_bf16;  // null without an instruction for it
  PeakKernel peak_int8;  // null without an instruction for it
};

extern const KernelTable kPortableKernels;
#ifdef IOL_X86
extern const KernelTable kAvx2Kernels;
extern const KernelTable kAvx2VnniKernels;
extern const KernelTable kAvx512Kernels;
extern const KernelTable kAvx512VnniKernels;
extern const KernelTable kAvx512Bf16Kernels;
extern const KernelTable kAmxKernels;
#endif

}  // namespace iol::cpu
