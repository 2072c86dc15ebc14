#include "backend/cuda/step_inputs.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/kernels/step_copies.h"

namespace iol::cuda {
namespace {

constexpr std::size_t kFirstTableEntries = 1 << 16;
// Of a sequence: a decode and the longest draft.
constexpr int kFewTokens = 17;

std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

int tiles_of(int rows, int tile_rows) { return (rows + tile_rows - 1) / tile_rows; }

/// The smallest bucket that holds so many tokens; their number itself where padding would not fit.
int bucket_of(int num_tokens, int most) {
  int bucket = num_tokens;
  if (num_tokens <= 8) {
    bucket = static_cast<int>(std::bit_ceil(static_cast<unsigned>(num_tokens)));
  } else if (num_tokens <= 64) {
    bucket = (num_tokens + 7) / 8 * 8;
  } else {
    bucket = (num_tokens + 31) / 32 * 32;
  }
  return bucket <= most ? bucket : num_tokens;
}

/// Hands out arrays one behind the other.
struct Carver {
  std::byte* host;
  std::byte* device;
  std::size_t offset = 0;

  template <class T>
  struct Array {
    T* host;
    T* device;
  };
  template <class T>
  Array<T> take(int count) {
    const std::size_t at = offset;
    offset += aligned(static_cast<std::size_t>(count) * sizeof(T));
    return {reinterpret_cast<T*>(host + at), reinterpret_cast<T*>(device + at)};
  }
};

}  // namespace

StepInputs::StepInputs(int max_tokens, int max_logits, int group, int head_dim)
    : max_tokens_(max_tokens),
      max_logits_(max_logits),
      group_(group),
      only_small_tiles_(head_dim > kMostPrefillHeadDim) {
  const auto tokens = static_cast<std::size_t>(max_tokens);
  const std::size_t tiles = tokens * static_cast<std::size_t>(tiles_of(group, kDecodeTileRows) + 1);
  const std::size_t bytes = 5 * aligned(tokens * sizeof(std::int32_t)) +
                            aligned(static_cast<std::size_t>(max_logits) * sizeof(std::int32_t)) +
                            aligned(static_cast<std::size_t>(max_logits) * sizeof(TokenChoice)) +
                            aligned((tokens + 1) * sizeof(Slice)) +
                            2 * aligned(tiles * sizeof(AttentionTile));
  for (PinnedBuffer& host : host_) host = PinnedBuffer(bytes, "the step's input");
  device_ = DeviceBuffer(bytes, "the step's input");
  for (PinnedBuffer& host : host_tables_)
    host = PinnedBuffer(kFirstTableEntries * sizeof(std::int32_t), "block tables");
  device_tables_ = DeviceBuffer(kFirstTableEntries * sizeof(std::int32_t), "block tables");
}

/// Decodes with their drafts, and whatever else fits into one tile of 16 rows.
bool StepInputs::takes_small_tiles(const SequenceSlice& slice) const {
  return only_small_tiles_ || slice.num_tokens <= kFewTokens ||
         slice.num_tokens * group_ <= kDecodeTileRows;
}

bool StepInputs::is_one_tile(const SequenceSlice& slice) const {
  return slice.num_tokens * group_ <= kDecodeTileRows;
}

StepSizes StepInputs::sizes_of(const StepInput& input, bool has_decode_kernel) const {
  StepSizes sizes;
  sizes.num_tokens = input.num_tokens();
  sizes.num_logits = static_cast<int>(input.logit_tokens.size());
  sizes.num_slices = static_cast<int>(input.sequences.size());
  int longest = 1;  // of what takes tiles of 16 rows
  for (const auto& slice : input.sequences) {
    if (takes_small_tiles(slice))
      longest = std::max(longest, slice.first_position + slice.num_tokens);
    if (has_decode_kernel && is_one_tile(slice)) {
      ++sizes.num_decodes;
      continue;
    }
    const int rows = slice.num_tokens * group_;
    sizes.num_rotated_tokens += slice.num_tokens;
    if (takes_small_tiles(slice)) {
      sizes.num_small_tiles += tiles_of(rows, kDecodeTileRows);
    } else {
      sizes.num_prefill_tiles += tiles_of(rows, kPrefillTileRows);
    }
  }
  const int chunks = (longest + kChunkPositions - 1) / kChunkPositions;
  sizes.max_chunks = static_cast<int>(std::bit_ceil(static_cast<unsigned>(chunks)));
  return sizes;
}

bool StepInputs::has_few_tokens(const StepInput& input) const {
  return !input.logit_tokens.empty() &&
         std::ranges::all_of(input.sequences, [](const SequenceSlice& slice) {
           return slice.num_tokens <= kFewTokens;
         });
}

/// Tokens decide all sizes but the number of tiles, which differs by how they are shared out.
StepSizes StepInputs::padded_sizes(const StepInput& input, bool has_decode_kernel) const {
  StepSizes sizes = sizes_of(input, has_decode_kernel);
  const bool only_decodes = sizes.num_decodes == sizes.num_slices;
  if (!only_decodes) sizes = sizes_of(input, false);
  sizes.num_tokens = bucket_of(input.num_tokens(), max_tokens_);
  sizes.num_logits = std::min(sizes.num_tokens, max_logits_);
  sizes.num_slices = sizes.num_tokens;
  const auto padded = [&](int num_tiles) {
    return std::min(static_cast<int>(std::bit_ceil(static_cast<unsigned>(num_tiles))),
                    sizes.num_tokens * tiles_of(group_, kDecodeTileRows));
  };
  if (only_decodes) {
    sizes.num_decodes = padded(sizes.num_decodes);
  } else {
    sizes.num_rotated_tokens = sizes.num_tokens;
    sizes.num_small_tiles = padded(sizes.num_small_tiles);
  }
  return sizes;
}

void StepInputs::upload(const StepInput& input, const StepSizes& sizes, int block_size,
                        const Stream& stream) {
  turn_ ^= 1;
  const PinnedBuffer& host = host_[turn_];
  Carver carver{host.data(), device_.data()};
  const auto token_ids = carver.take<std::int32_t>(sizes.num_tokens);
  const auto positions = carver.take<std::int32_t>(sizes.num_tokens);
  const auto blocks = carver.take<std::int32_t>(sizes.num_tokens);
  const auto token_slices = carver.take<std::int32_t>(sizes.num_tokens);
  const auto logit_tokens = carver.take<std::int32_t>(sizes.num_logits);
  const auto choices = carver.take<TokenChoice>(sizes.num_logits);
  const auto rotated_tokens = carver.take<std::int32_t>(sizes.num_rotated_tokens);
  const auto slices = carver.take<Slice>(sizes.num_slices);
  const auto small_tiles = carver.take<AttentionTile>(sizes.num_small_tiles);
  const auto prefill_tiles = carver.take<AttentionTile>(sizes.num_prefill_tiles);
  IOL_CHECK(carver.offset <= host.size_bytes());
  std::memset(host.data(), 0, carver.offset);
  const int num_tokens = input.num_tokens();
  std::copy(input.token_ids.begin(), input.token_ids.end(), token_ids.host);
  std::copy(input.positions.begin(), input.positions.end(), positions.host);
  std::copy(input.logit_tokens.begin(), input.logit_tokens.end(), logit_tokens.host);
  std::copy(input.choices.begin(), input.choices.end(), choices.host);
  std::fill(blocks.host + num_tokens, blocks.host + sizes.num_tokens, -1);
  // Padding: slices without tokens, of which tiles have no rows.
  const int num_slices = static_cast<int>(input.sequences.size());
  for (int t = num_tokens; t < sizes.num_tokens; ++t)
    token_slices.host[t] = std::min(num_slices, sizes.num_slices - 1);
  int entry = 0;
  int num_decodes = 0;
  int num_others = 0;
  int rotated_token = 0;
  int small_tile = 0;
  int prefill_tile = 0;
  for (const SequenceSlice& slice : input.sequences) {
    const bool is_decode = sizes.num_decodes > 0 && is_one_tile(slice);
    const int s = is_decode ? num_decodes++ : sizes.num_decodes + num_others++;
    slices.host[s] = {slice.first_token, slice.num_tokens, slice.first_position, entry};
    entry += static_cast<int>(slice.block_table.size());
    for (int i = 0; i < slice.num_tokens; ++i) {
      const int position = slice.first_position + i;
      blocks.host[slice.first_token + i] =
          slice.block_table[static_cast<std::size_t>(position / block_size)];
      token_slices.host[slice.first_token + i] = s;
    }
    if (is_decode) continue;
    for (int i = 0; i < slice.num_tokens; ++i)
      rotated_tokens.host[rotated_token++] = slice.first_token + i;
    const bool small = takes_small_tiles(slice);
    const int step = small ? kDecodeTileRows : kPrefillTileRows;
    for (int row = 0; row < slice.num_tokens * group_; row += step) {
      (small ? small_tiles.host[small_tile++] : prefill_tiles.host[prefill_tile++]) = {s, row};
    }
  }
  for (int t = num_tokens; rotated_token < sizes.num_rotated_tokens; ++t)
    rotated_tokens.host[rotated_token++] = t;
  for (int s = num_slices; small_tile < sizes.num_small_tiles; ++small_tile)
    small_tiles.host[small_tile] = {std::min(s, sizes.num_slices - 1), 1 << 20};
  fetch_inputs({{host.data(), device_.data(), carver.offset}, gather_tables(input, stream)},
               stream.get());
  check_launch("copying the step's input");
  arrays_ = {token_ids.device,
             positions.device,
             blocks.device,
             token_slices.device,
             logit_tokens.device,
             choices.device,
             rotated_tokens.device,
             slices.device,
             small_tiles.device,
             prefill_tiles.device,
             device_tables_.as<const std::int32_t>()};
}

StepCopy StepInputs::gather_tables(const StepInput& input, const Stream& stream) {
  std::size_t entries = 0;
  for (const auto& slice : input.sequences) entries += slice.block_table.size();
  const std::size_t bytes = aligned(entries * sizeof(std::int32_t));
  if (bytes > device_tables_.size_bytes()) {  // seldom: doubles until it fits
    std::size_t capacity = device_tables_.size_bytes();
    while (capacity < bytes) capacity *= 2;
    stream.synchronize("a step");
    for (PinnedBuffer& host : host_tables_) host = PinnedBuffer(capacity, "block tables");
    device_tables_ = DeviceBuffer(capacity, "block tables");
    ++table_generation_;
  }
  const PinnedBuffer& host = host_tables_[turn_];
  auto* out = reinterpret_cast<std::int32_t*>(host.data());
  for (const auto& slice : input.sequences)
    out = std::copy(slice.block_table.begin(), slice.block_table.end(), out);
  return {host.data(), device_tables_.data(), bytes};
}

}  // namespace iol::cuda
