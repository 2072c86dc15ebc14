#pragma once
// Attention of a step on the GPU with random operands: for the tests of the kernels and for timing
// them.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernels/kernels.h"
#include "base/dtype.h"
#include "base/random.h"

namespace iol::cuda {

/// Of one sequence: tokens of the step, behind so many positions.
struct AttentionSequence {
  int num_tokens = 1;
  int first_position = 0;
};

struct AttentionShape {
  CacheElement element = CacheElement::kBf16;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int block_size = 16;
  int window = 0;
  bool has_norms = false;
  std::vector<AttentionSequence> sequences;  // decodes first
  // Of caches of codes: magnitudes of values and queries differ by powers of two up to 2^+-spread,
  // and some are zero. Queries are never larger than otherwise but where keys are zero.
  int spread = 0;
};

/// Operands in device memory, and room for results; a cache for each of `num_layers`, so that
/// timing meets cold ones. What no position has written yet is NaN.
class AttentionCase {
 public:
  explicit AttentionCase(AttentionShape shape, int num_layers = 1)
      : shape_(std::move(shape)), num_layers_(num_layers), random_(7) {
    lay_out();
    fill_cache();
    fill_operands();
  }

  [[nodiscard]] const AttentionShape& shape() const { return shape_; }
  [[nodiscard]] int num_tokens() const { return num_tokens_; }
  [[nodiscard]] int max_chunks() const { return max_chunks_; }
  [[nodiscard]] int qkv_columns() const {
    return (shape_.num_heads + 2 * shape_.num_kv_heads) * shape_.head_dim;
  }
  /// [T, qkv_columns()]
  [[nodiscard]] float* qkv() const { return qkv_.as<float>(); }
  /// Keys and values that a layer must read.
  [[nodiscard]] double cache_bytes() const {
    double positions = 0;
    for (const auto& sequence : shape_.sequences)
      positions += sequence.first_position + sequence.num_tokens;
    return positions * shape_.num_kv_heads * 2 *
           (shape_.head_dim * cache_element_bytes(shape_.element) +
            (is_coded(shape_.element) ? 4 : 0));
  }

  /// [T, qkv_columns()]
  [[nodiscard]] const std::vector<float>& host_qkv() const { return host_qkv_; }
  [[nodiscard]] std::size_t out_bytes() const { return out_.size_bytes(); }
  /// A key or value of a cache of codes: its scale and its codes' numbers [D]. `layer`: layer 0.
  struct Coded {
    double scale;
    std::vector<double> codes;
  };
  [[nodiscard]] Coded coded(std::span<const std::byte> layer, std::size_t sequence, int kv_head,
                            int position, bool is_value) const {
    const auto dim = static_cast<std::size_t>(shape_.head_dim);
    const auto size = static_cast<std::size_t>(shape_.block_size);
    std::size_t entry = 0;
    for (std::size_t i = 0; i < sequence; ++i) entry += blocks_of(shape_.sequences[i]);
    entry += static_cast<std::size_t>(position) / size;
    const std::byte* head = layer.data() +
                            static_cast<std::size_t>(host_tables_[entry]) * block_bytes() +
                            static_cast<std::size_t>(kv_head) * head_bytes();
    const std::size_t in_block = static_cast<std::size_t>(position) % size;
    Coded coded;
    for (std::size_t d = 0; d < dim; ++d) {
      const auto code = std::to_integer<std::uint8_t>(
          head[(is_value ? size * dim : 0) + unit_offset(in_block, d, is_value)]);
      coded.codes.push_back(shape_.element == CacheElement::kFp8
                                ? double{e4m3_to_f32(code)}
                                : static_cast<double>(static_cast<std::int8_t>(code)));
    }
    float scale;
    std::memcpy(&scale, head + 2 * size * dim + 4 * (in_block + (is_value ? size : 0)), 4);
    coded.scale = double{scale};
    return coded;
  }

  [[nodiscard]] RopeAppendTask heads(int layer = 0) const {
    RopeAppendTask task;
    task.qkv = qkv();
    if (shape_.has_norms) {
      task.q_norm = norms_.as<float>();
      task.k_norm = norms_.as<float>() + shape_.head_dim;
    }
    task.eps = 1e-6;
    task.cosine = angles_.as<float>();
    task.sine = task.cosine + angle_count();
    task.positions = positions_.as<std::int32_t>();
    task.blocks = blocks_.as<std::int32_t>();
    task.num_tokens = num_tokens_;
    task.num_heads = shape_.num_heads;
    task.cache = cache(layer);
    task.queries = queries_.data();
    task.query_element = query_element();
    if (is_coded(shape_.element)) task.query_scales = query_scales_.as<float>();
    return task;
  }
  /// `is_split`: a block of threads for each chunk.
  [[nodiscard]] AttentionTask attention(bool is_split, int layer = 0) const {
    AttentionTask task;
    task.cache = cache(layer);
    task.slices = slices_.as<Slice>();
    task.tiles = tiles_.as<AttentionTile>();
    task.num_tiles = num_tiles_;
    task.tables = tables_.as<std::int32_t>();
    task.num_tokens = num_tokens_;
    task.num_heads = shape_.num_heads;
    task.window = shape_.window;
    task.scale = 1.0F / std::sqrt(static_cast<float>(shape_.head_dim));
    task.queries = queries_.data();
    task.query_element = query_element();
    if (is_coded(shape_.element)) task.query_scales = query_scales_.as<float>();
    task.out = out_.data();
    task.out_element = out_element();
    task.out_stride = shape_.num_heads * shape_.head_dim;
    task.split = is_split && max_chunks_ > 1;
    task.max_chunks = max_chunks_;
    task.partial_sums = partial_sums_.as<float>();
    task.partial_stats = partial_stats_.as<float>();
    task.arrivals = arrivals_.as<int>();
    return task;
  }

  /// Sequences of few tokens alone, for attention_decode(). Tiles of several chunks are shared by
  /// up to so many blocks each; 1: walks alone.
  [[nodiscard]] AttentionTask decodes(int shares, int layer = 0) const {
    AttentionTask task = attention(false, layer);
    task.slices = decode_slices_.as<Slice>();
    task.num_tiles = num_decodes_;
    task.first_queries = first_queries_.as<std::int32_t>();
    task.shares = std::min(shares, max_chunks_);
    task.first_partials = (shares > 1 ? shared_ : alone_).as<std::int32_t>();
    return task;
  }
  /// The other ones, for rope_append() and attention().
  [[nodiscard]] RopeAppendTask prompt_heads(int layer = 0) const {
    RopeAppendTask task = heads(layer);
    task.tokens = prompt_tokens_.as<std::int32_t>();
    task.num_tokens = num_prompt_tokens_;
    return task;
  }
  [[nodiscard]] AttentionTask prompts(int layer = 0) const {
    AttentionTask task = attention(false, layer);
    task.tiles = prompt_tiles_.as<AttentionTile>();
    task.num_tiles = num_prompt_tiles_;
    task.tile_rows = kPrefillTileRows;
    return task;
  }

  /// Results, then layer 0 of the cache.
  [[nodiscard]] std::vector<std::byte> results() const {
    std::vector<std::byte> all(out_.size_bytes() + layer_bytes());
    check(cudaMemcpy(all.data(), out_.data(), out_.size_bytes(), cudaMemcpyDeviceToHost),
          "reading results");
    check(cudaMemcpy(all.data() + out_.size_bytes(), cache_.data(), layer_bytes(),
                     cudaMemcpyDeviceToHost),
          "reading the cache");
    return all;
  }
  /// As made: no results, and nothing appended to layer 0.
  void clear() const {
    check(cudaMemset(out_.data(), 0xff, out_.size_bytes()), "clearing results");
    upload(cache_, 0, first_layer_.data(), first_layer_.size());
  }

 private:
  [[nodiscard]] Element query_element() const {
    return shape_.element == CacheElement::kBf16 ? Element::kBf16 : Element::kF16;
  }
  [[nodiscard]] Element out_element() const {
    return shape_.element == CacheElement::kF16 ? Element::kF16 : Element::kBf16;
  }
  [[nodiscard]] std::size_t head_bytes() const {
    const auto dim = static_cast<std::size_t>(shape_.head_dim);
    return 2 * static_cast<std::size_t>(shape_.block_size) *
           (dim * static_cast<std::size_t>(cache_element_bytes(shape_.element)) +
            (is_coded(shape_.element) ? 4 : 0));
  }
  [[nodiscard]] std::size_t block_bytes() const {
    return head_bytes() * static_cast<std::size_t>(shape_.num_kv_heads);
  }
  [[nodiscard]] std::size_t layer_bytes() const {
    return block_bytes() * static_cast<std::size_t>(num_blocks_);
  }
  [[nodiscard]] int angle_count() const { return num_tokens_ * shape_.head_dim / 2; }
  [[nodiscard]] CacheView cache(int layer) const {
    CacheView view;
    view.data = cache_.data() + layer_bytes() * static_cast<std::size_t>(layer);
    view.element = shape_.element;
    view.block_size = shape_.block_size;
    view.head_dim = shape_.head_dim;
    view.num_kv_heads = shape_.num_kv_heads;
    view.block_bytes = static_cast<std::int64_t>(block_bytes());
    view.head_bytes = static_cast<std::int64_t>(head_bytes());
    return view;
  }

  [[nodiscard]] std::size_t blocks_of(const AttentionSequence& sequence) const {
    const int end = sequence.first_position + sequence.num_tokens;
    return static_cast<std::size_t>((end + shape_.block_size - 1) / shape_.block_size);
  }
  /// Of an element in a block's keys or values.
  [[nodiscard]] std::size_t unit_offset(std::size_t position, std::size_t d, bool is_value) const {
    return static_cast<std::size_t>(cache_offset(cache_element_bytes(shape_.element),
                                                 shape_.head_dim, is_value,
                                                 static_cast<int>(position), static_cast<int>(d)));
  }
  /// A power of two up to 2^+-spread, or zero.
  float random_magnitude() {
    const auto count = static_cast<std::uint64_t>(2 * shape_.spread + 1);
    if (shape_.spread == 0) return 1;
    if (random_.below(16) == 0) return 0;
    return std::ldexp(1.0F, static_cast<int>(random_.below(count)) - shape_.spread);
  }

  static void upload(const DeviceBuffer& to, std::size_t at, const void* from, std::size_t bytes) {
    copy_to_device(to.data() + at, from, bytes, "filling operands");
  }
  template <class T>
  static DeviceBuffer uploaded(const std::vector<T>& values) {
    DeviceBuffer buffer(values.size() * sizeof(T), "operands");
    upload(buffer, 0, values.data(), buffer.size_bytes());
    return buffer;
  }
  std::vector<float> random_floats(std::size_t count, double least, double most) {
    std::vector<float> values(count);
    for (float& value : values)
      value = static_cast<float>(least + (most - least) * random_.uniform());
    return values;
  }

  void lay_out() {
    std::vector<Slice> slices, decodes;
    std::vector<AttentionTile> tiles, prompt_tiles;
    std::vector<std::int32_t> positions, token_blocks, prompt_tokens, first_queries, shared;
    int num_partials = 0;
    int longest = 0;
    for (const auto& sequence : shape_.sequences) {
      const int end = sequence.first_position + sequence.num_tokens;
      longest = std::max(longest, end);
      num_blocks_ += (end + shape_.block_size - 1) / shape_.block_size;
    }
    while (num_blocks_ % 7 == 0) ++num_blocks_;
    for (const auto& sequence : shape_.sequences) {
      const int entry = static_cast<int>(host_tables_.size());
      const int end = sequence.first_position + sequence.num_tokens;
      const auto slice = static_cast<std::int32_t>(slices.size());
      const int group = shape_.num_heads / shape_.num_kv_heads;
      const int rows = sequence.num_tokens * group;
      for (int row = 0; row < rows; row += kDecodeTileRows) tiles.push_back({slice, row});
      if (group <= kDecodeTileRows && sequence.num_tokens <= kMostDecodeTokens) {
        const int tokens = kDecodeTileRows / group;
        for (int first = 0; first < sequence.num_tokens; first += tokens) {
          const int count = std::min(first + tokens, sequence.num_tokens);
          decodes.push_back({num_tokens_, count, sequence.first_position, entry});
          first_queries.push_back(first);
          const int chunks =
              (sequence.first_position + count + kChunkPositions - 1) / kChunkPositions;
          shared.push_back(chunks > 1 ? num_partials : -1);
          num_partials += chunks;
        }
      } else {
        for (int row = 0; row < rows; row += kPrefillTileRows) prompt_tiles.push_back({slice, row});
        for (int i = 0; i < sequence.num_tokens; ++i) prompt_tokens.push_back(num_tokens_ + i);
      }
      slices.push_back({num_tokens_, sequence.num_tokens, sequence.first_position, entry});
      for (int at = 0; at < end; at += shape_.block_size) {
        const auto scattered = std::int64_t{7} * static_cast<std::int64_t>(host_tables_.size());
        host_tables_.push_back(static_cast<std::int32_t>(scattered % num_blocks_));
      }
      for (int position = sequence.first_position; position < end; ++position) {
        positions.push_back(position);
        token_blocks.push_back(
            host_tables_[static_cast<std::size_t>(entry + position / shape_.block_size)]);
      }
      num_tokens_ += sequence.num_tokens;
    }
    constexpr int kChunk = kChunkPositions;
    max_chunks_ = (longest + kChunk - 1) / kChunk;
    slices_ = uploaded(slices);
    num_decodes_ = static_cast<int>(decodes.size());
    decode_slices_ = uploaded(decodes);
    first_queries_ = uploaded(first_queries);
    shared_ = uploaded(shared);
    alone_ = uploaded(std::vector<std::int32_t>(shared.size(), -1));
    num_tiles_ = static_cast<int>(tiles.size());
    tiles_ = uploaded(tiles);
    num_prompt_tiles_ = static_cast<int>(prompt_tiles.size());
    prompt_tiles_ = uploaded(prompt_tiles);
    num_prompt_tokens_ = static_cast<int>(prompt_tokens.size());
    prompt_tokens_ = uploaded(prompt_tokens);
    tables_ = uploaded(host_tables_);
    positions_ = uploaded(positions);
    blocks_ = uploaded(token_blocks);
    std::vector<float> angles(2 * static_cast<std::size_t>(angle_count()));
    const int half = shape_.head_dim / 2;
    for (int i = 0; i < angle_count(); ++i) {
      const double angle =
          positions[static_cast<std::size_t>(i / half)] * std::pow(1e4, -1.0 * (i % half) / half);
      angles[static_cast<std::size_t>(i)] = static_cast<float>(std::cos(angle));
      angles[static_cast<std::size_t>(i + angle_count())] = static_cast<float>(std::sin(angle));
    }
    angles_ = uploaded(angles);
  }

  /// A few blocks with numbers everywhere, over and over; then NaN behind each sequence.
  void fill_cache() {
    constexpr int kImages = 61;
    std::vector<std::vector<std::byte>> images;
    for (int i = 0; i < kImages; ++i) images.push_back(random_block());
    first_layer_.resize(layer_bytes());
    for (std::size_t block = 0; block < static_cast<std::size_t>(num_blocks_); ++block)
      std::memcpy(&first_layer_[block * block_bytes()], images[block % kImages].data(),
                  block_bytes());
    std::size_t entry = 0;
    for (const auto& sequence : shape_.sequences) {
      const int end = sequence.first_position + sequence.num_tokens;
      for (int at = 0; at < end; at += shape_.block_size) {
        std::byte* block =
            &first_layer_[static_cast<std::size_t>(host_tables_[entry++]) * block_bytes()];
        for (int p = std::max(sequence.first_position - at, 0); p < shape_.block_size; ++p)
          spoil(block, p);
      }
    }
    cache_ = DeviceBuffer(layer_bytes() * static_cast<std::size_t>(num_layers_), "the cache");
    upload(cache_, 0, first_layer_.data(), layer_bytes());
    for (int layer = 1; layer < num_layers_; ++layer)
      check(cudaMemcpy(cache_.data() + layer_bytes() * static_cast<std::size_t>(layer),
                       cache_.data(), layer_bytes(), cudaMemcpyDeviceToDevice),
            "filling layers");
  }
  std::vector<std::byte> random_block() {
    std::vector<std::byte> block(block_bytes());
    const std::size_t codes = head_bytes() - (is_coded(shape_.element) ? 8 : 0) *
                                                 static_cast<std::size_t>(shape_.block_size);
    for (std::size_t head = 0; head < block.size(); head += head_bytes()) {
      for (std::size_t i = 0; i < codes; ++i) {
        auto code = static_cast<std::uint8_t>(random_.below(256));
        if (shape_.element == CacheElement::kFp8 && (code & 0x7fU) == 0x7fU) code = 0x30;
        // The high byte of a bf16 or f16: no exponent is near its ends.
        if (!is_coded(shape_.element) && i % 2 != 0)
          code = static_cast<std::uint8_t>((code & 0x81U) | 0x3cU | (code >> 4 & 2U));
        if (shape_.element == CacheElement::kInt8 && code == 0x80U) code = 0;
        block[head + i] = std::byte{code};
      }
      if (shape_.spread > 0) clear_keys(&block[head]);
      for (std::size_t i = codes; i < head_bytes(); i += 4) {
        const bool is_value = (i - codes) / 4 >= static_cast<std::size_t>(shape_.block_size);
        const auto scale = static_cast<float>((0.5 + random_.uniform()) / 100) *
                           (is_value ? random_magnitude() : 1.0F);
        std::memcpy(&block[head + i], &scale, 4);
      }
    }
    return block;
  }
  /// Of a block's head, what large elements of queries meet.
  void clear_keys(std::byte* keys) const {
    const auto half = static_cast<std::size_t>(shape_.head_dim / 2);
    for (std::size_t p = 0; p < static_cast<std::size_t>(shape_.block_size); ++p) {
      keys[unit_offset(p, 0, false)] = std::byte{0};
      keys[unit_offset(p, half, false)] = std::byte{0};
    }
  }
  /// Of [T, qkv_columns()].
  void spread_magnitudes(std::vector<float>& qkv) {
    const int heads = shape_.num_heads + 2 * shape_.num_kv_heads;
    const auto dim = static_cast<std::size_t>(shape_.head_dim);
    for (std::size_t i = 0; i < qkv.size() / dim; ++i) {
      float* head = &qkv[i * dim];
      const int index = static_cast<int>(i) % heads;
      const bool is_query = index < shape_.num_heads;
      const bool is_value = index >= shape_.num_heads + shape_.num_kv_heads;
      float magnitude = is_query || is_value ? random_magnitude() : 1.0F;
      if (is_query) magnitude = std::min(magnitude, 1.0F);
      for (std::size_t d = 0; d < dim; ++d) head[d] *= magnitude;
      if (is_value) continue;
      const float large = !is_query    ? 0.0F
                          : i % 2 == 0 ? 1.0F
                                       : std::ldexp(1.0F, std::min(shape_.spread, 20));
      head[0] *= large;
      head[dim / 2] *= large;
    }
  }
  /// Makes a position of a block NaN, or large codes with scales of NaN.
  void spoil(std::byte* block, int position) const {
    const auto dim = static_cast<std::size_t>(shape_.head_dim);
    const auto size = static_cast<std::size_t>(shape_.block_size);
    const auto bytes = static_cast<std::size_t>(cache_element_bytes(shape_.element));
    const auto in_block = static_cast<std::size_t>(position);
    const int nothing = is_coded(shape_.element) ? 0x7e : 0x7f;  // codes are always numbers
    for (int head = 0; head < shape_.num_kv_heads; ++head) {
      std::byte* keys = block + head_bytes() * static_cast<std::size_t>(head);
      std::byte* values = keys + size * dim * bytes;
      for (std::size_t d = 0; d < dim; ++d) {
        std::memset(keys + unit_offset(in_block, d, false) * bytes, nothing, bytes);
        std::memset(values + unit_offset(in_block, d, true) * bytes, nothing, bytes);
      }
      if (!is_coded(shape_.element)) continue;
      const float nan = std::numeric_limits<float>::quiet_NaN();
      std::byte* scales = values + size * dim * bytes;
      std::memcpy(scales + static_cast<std::size_t>(position) * 4, &nan, 4);
      std::memcpy(scales + (size + static_cast<std::size_t>(position)) * 4, &nan, 4);
    }
  }

  void fill_operands() {
    const auto tokens = static_cast<std::size_t>(num_tokens_);
    const auto dim = static_cast<std::size_t>(shape_.head_dim);
    const std::size_t queries = tokens * static_cast<std::size_t>(shape_.num_heads) * dim;
    const auto tiles = static_cast<std::size_t>(std::max(num_tiles_, num_decodes_));
    const std::size_t entries =
        tiles * static_cast<std::size_t>(shape_.num_kv_heads * max_chunks_) * kDecodeTileRows;
    host_qkv_ = random_floats(tokens * static_cast<std::size_t>(qkv_columns()), -2, 2);
    if (shape_.spread > 0) spread_magnitudes(host_qkv_);
    qkv_ = uploaded(host_qkv_);
    norms_ = uploaded(random_floats(2 * dim, 0.5, 1.5));
    queries_ = DeviceBuffer(queries * 2, "queries");
    query_scales_ = DeviceBuffer(queries / dim * 4, "scales of queries");
    out_ = DeviceBuffer(queries * 2, "results");
    partial_sums_ = DeviceBuffer(entries * dim * 4, "partial sums");
    partial_stats_ = DeviceBuffer(entries * 8, "partial maxima");
    arrivals_ = DeviceBuffer(tiles * static_cast<std::size_t>(shape_.num_kv_heads) * 4, "arrivals");
  }

  AttentionShape shape_;
  int num_layers_;
  RandomStream random_;
  int num_tokens_ = 0;
  int num_blocks_ = 0;
  int max_chunks_ = 1;
  int num_tiles_ = 0;    // of 16 rows
  int num_decodes_ = 0;  // tiles of sequences
  int num_prompt_tokens_ = 0;
  int num_prompt_tiles_ = 0;
  std::vector<std::int32_t> host_tables_;
  std::vector<float> host_qkv_;
  std::vector<std::byte> first_layer_;
  DeviceBuffer slices_, decode_slices_, first_queries_, shared_, alone_, tiles_, prompt_tiles_,
      prompt_tokens_, tables_, positions_, blocks_, angles_, cache_, qkv_, norms_, queries_,
      query_scales_, out_, partial_sums_, partial_stats_, arrivals_;
};

}  // namespace iol::cuda
