#include "backend/cuda/step_inputs.h"

#include <algorithm>
#include <cstring>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/decode_shares.h"
#include "backend/cuda/kernels/step_copies.h"

namespace iol::cuda {
namespace {

constexpr std::size_t kFirstTableEntries = 1 << 16;

std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

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

/// The places of a step's arrays: see StepArrays.
struct Places {
  Carver carver;
  Carver::Array<std::int32_t> token_ids, positions, blocks, token_slices, logit_tokens;
  Carver::Array<TokenChoice> choices;
  Carver::Array<std::int32_t> rotated_tokens;
  Carver::Array<Slice> slices;
  Carver::Array<std::int32_t> first_queries, first_partials;
  Carver::Array<AttentionTile> small_tiles, prefill_tiles;

  Places(const StepSizes& sizes, std::byte* host, std::byte* device)
      : carver{host, device},
        token_ids(carver.take<std::int32_t>(sizes.num_tokens)),
        positions(carver.take<std::int32_t>(sizes.num_tokens)),
        blocks(carver.take<std::int32_t>(sizes.num_tokens)),
        token_slices(carver.take<std::int32_t>(sizes.num_tokens)),
        logit_tokens(carver.take<std::int32_t>(sizes.num_logits)),
        choices(carver.take<TokenChoice>(sizes.num_logits)),
        rotated_tokens(carver.take<std::int32_t>(sizes.num_rotated_tokens)),
        slices(carver.take<Slice>(sizes.num_slices)),
        first_queries(carver.take<std::int32_t>(sizes.num_decodes)),
        first_partials(carver.take<std::int32_t>(sizes.num_decodes)),
        small_tiles(carver.take<AttentionTile>(sizes.num_small_tiles)),
        prefill_tiles(carver.take<AttentionTile>(sizes.num_prefill_tiles)) {}

  [[nodiscard]] StepArrays arrays(const std::int32_t* tables) const {
    return {token_ids.device,
            positions.device,
            blocks.device,
            token_slices.device,
            logit_tokens.device,
            choices.device,
            rotated_tokens.device,
            slices.device,
            first_queries.device,
            first_partials.device,
            small_tiles.device,
            prefill_tiles.device,
            tables};
  }
};

}  // namespace

StepInputs::StepInputs(int max_tokens, int max_logits, const TransformerShape& shape)
    : forms_(max_tokens, max_logits, shape) {
  const auto tokens = static_cast<std::size_t>(max_tokens);
  const std::size_t tiles =
      tokens * static_cast<std::size_t>(tiles_of(forms_.group(), kDecodeTileRows) + 1);
  const std::size_t bytes = 7 * aligned(tokens * sizeof(std::int32_t)) +
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

void StepInputs::upload(const StepInput& input, const StepSizes& sizes, int block_size,
                        const Stream& stream) {
  turn_ ^= 1;
  const PinnedBuffer& host = host_[turn_];
  Places places(sizes, host.data(), device_.data());
  const std::size_t bytes = places.carver.offset;
  IOL_CHECK(bytes <= host.size_bytes());
  std::memset(host.data(), 0, bytes);
  const int num_tokens = input.num_tokens();
  std::copy(input.token_ids.begin(), input.token_ids.end(), places.token_ids.host);
  std::copy(input.positions.begin(), input.positions.end(), places.positions.host);
  std::copy(input.logit_tokens.begin(), input.logit_tokens.end(), places.logit_tokens.host);
  std::copy(input.choices.begin(), input.choices.end(), places.choices.host);
  std::fill(places.blocks.host + num_tokens, places.blocks.host + sizes.num_tokens, -1);
  // Padding: slices without tokens, of which tiles have no rows.
  const int num_slices = static_cast<int>(input.sequences.size());
  for (int t = num_tokens; t < sizes.num_tokens; ++t)
    places.token_slices.host[t] = std::min(num_slices, sizes.num_slices - 1);
  decodes_.clear();
  int entry = 0;
  int num_others = 0;
  int rotated_token = 0;
  int small_tile = 0;
  int prefill_tile = 0;
  for (const SequenceSlice& slice : input.sequences) {
    const Slice whole = {slice.first_token, slice.num_tokens, slice.first_position, entry};
    entry += static_cast<int>(slice.block_table.size());
    const bool is_decode = sizes.num_decodes > 0 && forms_.takes_decode_tiles(slice);
    const int s = is_decode ? 0 : sizes.num_decodes + num_others++;
    for (int i = 0; i < slice.num_tokens; ++i) {
      const int position = slice.first_position + i;
      places.blocks.host[slice.first_token + i] =
          slice.block_table[static_cast<std::size_t>(position / block_size)];
      places.token_slices.host[slice.first_token + i] = s;
    }
    if (is_decode) {
      add_decode(whole);
      continue;
    }
    places.slices.host[s] = whole;
    for (int i = 0; i < slice.num_tokens; ++i)
      places.rotated_tokens.host[rotated_token++] = slice.first_token + i;
    const bool small = forms_.takes_small_tiles(slice);
    const int step = small ? kDecodeTileRows : kPrefillTileRows;
    for (int row = 0; row < slice.num_tokens * forms_.group(); row += step) {
      (small ? places.small_tiles.host[small_tile++]
             : places.prefill_tiles.host[prefill_tile++]) = {s, row};
    }
  }
  for (int t = num_tokens; rotated_token < sizes.num_rotated_tokens; ++t)
    places.rotated_tokens.host[rotated_token++] = t;
  for (int s = num_slices; small_tile < sizes.num_small_tiles; ++small_tile)
    places.small_tiles.host[small_tile] = {std::min(s, sizes.num_slices - 1), 1 << 20};
  order_decodes();
  num_chunks_.clear();
  for (std::size_t i = 0; i < decodes_.size(); ++i) {
    places.slices.host[i] = decodes_[i].slice;
    places.first_queries.host[i] = decodes_[i].first_query;
    num_chunks_.push_back(decodes_[i].num_chunks);
  }
  share_decodes(num_chunks_, forms_.num_kv_heads(),
                most_shares(sizes.num_decodes, forms_.num_kv_heads(), sizes.max_chunks),
                {places.first_partials.host, decodes_.size()});
  fetch_inputs({{host.data(), device_.data(), bytes}, gather_tables(input, stream)}, stream.get());
  check_launch("copying the step's input");
  arrays_ = places.arrays(device_tables_.as<const std::int32_t>());
}

void StepInputs::add_decode(const Slice& slice) {
  const int tokens = forms_.tokens_of_decode_tile();
  for (int first = 0; first < slice.num_tokens; first += tokens) {
    Slice tile = slice;
    tile.num_tokens = std::min(first + tokens, slice.num_tokens);
    const int last_position = tile.first_position + tile.num_tokens - 1;
    decodes_.push_back({tile, first, last_position / kChunkPositions + 1});
  }
}

void StepInputs::order_decodes() {
  std::ranges::sort(decodes_, [](const DecodeTile& a, const DecodeTile& b) {
    if (a.num_chunks != b.num_chunks) return a.num_chunks > b.num_chunks;
    return a.slice.first_token + a.first_query < b.slice.first_token + b.first_query;
  });
}

void StepInputs::place(const StepSizes& sizes) {
  arrays_ = Places(sizes, host_[turn_].data(), device_.data())
                .arrays(device_tables_.as<const std::int32_t>());
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
