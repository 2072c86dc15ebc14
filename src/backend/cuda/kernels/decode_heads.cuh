#pragma once
// What a decode takes from the QKV projection: queries become operand A, keys and values go to the
// cache and to the chunk that is in shared memory already. The arithmetic is that of head.cuh.
#include "backend/cuda/kernels/decode_chunk.cuh"
#include "backend/cuda/kernels/head_codes.cuh"
#include "backend/cuda/kernels/reduce.cuh"

namespace iol::cuda {

/// A head in the hands of kDim / 8 threads: elements d .. d + 3, and d + D/2 .. d + D/2 + 3.
struct HeadPart {
  float low[4];
  float high[4];
};

__device__ __forceinline__ void load_four(const float* p, float (&x)[4]) {
  const float4 v = __ldcg(reinterpret_cast<const float4*>(p));
  x[0] = v.x;
  x[1] = v.y;
  x[2] = v.z;
  x[3] = v.w;
}

/// What a thread reads of the QKV projection and the angles of its position.
struct HeadLoads {
  HeadPart part;
  float cosine[4];
  float sine[4];
};

/// 1 / sqrt(mean square + eps). Apart, so that models without such norms don't fetch its code.
__device__ __noinline__ inline float norm_scale(float squares, int dim, double eps) {
  const double mean = static_cast<double>(squares) / dim + eps;
  return static_cast<float>(1.0 / sqrt(mean));
}

/// Scales of the RMSNorm of queries and keys, a head for each warp, summed up as in normalize().
template <int kDim>
__device__ __noinline__ void find_norm_scales(const DecodeArgs& args, int first_token,
                                              int num_tokens, int first_query, int num_rows,
                                              float* norm_scales) {
  const int lane = threadIdx.x % 32;
  const int parts = args.num_heads + 2 * args.num_kv_heads;
  for (int i = threadIdx.x / 32; i < num_rows + num_tokens; i += kAttentionWarps) {
    const bool is_query = i < num_rows;
    const int in_tile = i * args.group_inverse >> 16;
    const int token = is_query ? first_query + in_tile : i - num_rows;
    const int part = is_query ? kv_head_of_block() * args.group + i - in_tile * args.group
                              : args.num_heads + kv_head_of_block();
    const float* row =
        args.qkv + (static_cast<std::int64_t>(first_token + token) * parts + part) * kDim;
    float squares = 0;
#pragma unroll
    for (int j = 0; j < kDim / 32; ++j) {
      const float x = __ldcg(row + lane + 32 * j);
      squares = __fmaf_rn(x, x, squares);
    }
    norm_scales[i] = norm_scale(warp_sum(squares), kDim, args.eps);
  }
}

__device__ __forceinline__ void normalize(HeadPart& head, float scale, const float* weight, int d,
                                          int half) {
  float low[4];
  float high[4];
  load_four(weight + d, low);
  load_four(weight + d + half, high);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    head.low[i] = __fmul_rn(__fmul_rn(head.low[i], scale), low[i]);
    head.high[i] = __fmul_rn(__fmul_rn(head.high[i], scale), high[i]);
  }
}

__device__ __forceinline__ void rotate(HeadPart& head, const float (&cosine)[4],
                                       const float (&sine)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float low = head.low[i];
    const float high = head.high[i];
    head.low[i] = __fmaf_rn(low, cosine[i], -__fmul_rn(high, sine[i]));
    head.high[i] = __fmaf_rn(high, cosine[i], __fmul_rn(low, sine[i]));
  }
}

/// Four neighbouring elements as the cache holds them.
template <class Codec>
struct CacheWords {
  static constexpr int kWords = Codec::kCoded ? 1 : 2;
  std::uint32_t words[kWords];

  __device__ __forceinline__ CacheWords(const float (&x)[4], float inverse) {
    if constexpr (Codec::kCoded) {
      words[0] = inverse == 0.0F ? 0 : Codec::codes(x, inverse);  // NaN times 0 is no number
    } else {
      words[0] = Codec::pack(x[0], x[1]);
      words[1] = Codec::pack(x[2], x[3]);
    }
  }
  /// Neighbours in a unit.
  __device__ __forceinline__ void store_key(std::byte* at) const {
    if constexpr (Codec::kCoded) {
      *reinterpret_cast<std::uint32_t*>(at) = words[0];
    } else {
      *reinterpret_cast<uint2*>(at) = make_uint2(words[0], words[1]);
    }
  }
  /// In a row each.
  __device__ __forceinline__ void store_value(std::byte* at) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (Codec::kCoded) {
        reinterpret_cast<std::uint8_t*>(at)[32 * i] = static_cast<std::uint8_t>(words[0] >> 8 * i);
      } else {
        reinterpret_cast<std::uint16_t*>(at)[16 * i] =
            static_cast<std::uint16_t>(words[i / 2] >> 16 * (i % 2));
      }
    }
  }
};

/// Of the head's elements, in each of its threads: see magnitude_bits().
template <int kThreads>
__device__ __forceinline__ std::uint32_t largest_magnitude(const HeadPart& head) {
  std::uint32_t largest = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) largest = larger(largest, fabsf(head.low[i]), fabsf(head.high[i]));
  return largest_of_lanes(largest, kThreads);
}

/// What a thread takes from the QKV projection: of a query, key or value its elements d .. and D/2
/// + d .. . Where they come from and go to is known before they are.
template <class Codec, int kDim>
struct DecodeItem {
  using Chunk = DecodeChunk<Codec, kDim>;
  static constexpr int kThreads = kDim / 8;  // of a head
  static constexpr int kHalf = kDim / 2;
  static_assert((kThreads & (kThreads - 1)) == 0 && kThreads <= 32);

  int row;    // of the tile; its queries come first, then a key and a value of each token
  int token;  // of the slice
  int d;
  bool is_query;
  bool is_value;
  bool exists;
  const float* from;
  std::int64_t angles;
  // Of a key or value that the block appends: the cache's block, and places in its head's part, in
  // bytes. (No address before it is wanted: that would wait for the block's number.)
  bool appends = false;
  std::int32_t block = 0;
  int in_head = 0;
  int scale_in_head = 0;
  int in_chunk = -1;  // position in the block's first chunk, which is in shared memory; -1: none
  int here;           // place in a chunk, in bytes

  __device__ __forceinline__ DecodeItem(const DecodeArgs& args, const DecodeTile& tile, int begin) {
    row = begin + static_cast<int>(threadIdx.x) / kThreads;
    d = static_cast<int>(threadIdx.x) % kThreads * 4;
    const int behind = row - tile.num_rows;
    is_query = behind < 0;
    is_value = !is_query && behind % 2 != 0;
    exists = behind < 2 * tile.slice.num_tokens;
    const int in_tile = row * args.group_inverse >> 16;
    token = !exists ? 0 : is_query ? tile.first_query + in_tile : behind / 2;
    const int kv_head = kv_head_of_block();
    int part = args.num_heads + kv_head + (is_value ? args.num_kv_heads : 0);
    if (is_query) part = kv_head * args.group + row - in_tile * args.group;
    const std::int64_t step_token = tile.slice.first_token + token;
    from = args.qkv + (step_token * (args.num_heads + 2 * args.num_kv_heads) + part) * kDim + d;
    angles = step_token * kHalf + d;
    if (!is_query && exists) find_places(args, tile);
  }

  __device__ __forceinline__ HeadLoads load(const DecodeArgs& args) const {
    HeadLoads loads;
    load_four(from, loads.part.low);
    load_four(from + kHalf, loads.part.high);
    load_four(args.cosine + angles, loads.cosine);
    load_four(args.sine + angles, loads.sine);
    return loads;
  }

  __device__ __forceinline__ HeadPart finish(const DecodeArgs& args, const DecodeTile& tile,
                                             const HeadLoads& loads, const float* norm_scales,
                                             bool has_norm) const {
    HeadPart part = loads.part;
    if (is_value) return part;
    if (has_norm && exists) {
      const float* norm = is_query ? args.q_norm : args.k_norm;
      const int i = is_query ? row : tile.num_rows + token;
      if (norm != nullptr) normalize(part, norm_scales[i], norm, d, kHalf);
    }
    rotate(part, loads.cosine, loads.sine);
    return part;
  }

  /// `largest`: of the row, where the cache has codes, whose queries have a scale.
  template <int kHalves>
  __device__ __forceinline__ void store_query(HeadPart part, std::uint32_t largest,
                                              std::uint32_t* queries, float* scales) const {
    if constexpr (Codec::kCoded) {
      const F16Scale found(largest);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        part.low[i] = __fmul_rn(part.low[i], found.inverse);
        part.high[i] = __fmul_rn(part.high[i], found.inverse);
      }
      if (d == 0) scales[row] = found.scale;
    }
    std::uint32_t* to =
        queries + ((d / 16 * 32 + row % 8 * 4 + d % 16 / 4) * 2) * kHalves + row / 8;
    to[0] = Codec::pack(part.low[0], part.low[1]);
    to[kHalves] = Codec::pack(part.low[2], part.low[3]);
    to += kHalf / 16 * 64 * kHalves;
    to[0] = Codec::pack(part.high[0], part.high[1]);
    to[kHalves] = Codec::pack(part.high[2], part.high[3]);
  }

  /// To the cache, but in a rehearsal, and to `keys` or `values` where its chunk was copied before
  /// the element was known. `largest`: of the head, where the cache has codes.
  __device__ __forceinline__ void append(const DecodeArgs& args, const HeadPart& part,
                                         std::uint32_t largest, bool is_rehearsal,
                                         DecodeShared<Codec, kDim>& shared, std::byte* keys) const {
    float inverse = 0;
    float scale = 0;
    if constexpr (Codec::kCoded) {
      const HeadCodes codes(largest, Codec::kMost);
      inverse = codes.inverse;
      scale = codes.scale;
    }
    const CacheWords<Codec> low(part.low, inverse);
    const CacheWords<Codec> high(part.high, inverse);
    if (in_chunk >= 0) {
      const int warp = in_chunk / kWarpPositions;  // that asked for it
      wait_for_copies(shared.keys_here + warp, 0);
      if (Codec::kCoded && d == 0) shared.scales[is_value][in_chunk] = scale;
      if (!is_value) {
        low.store_key(keys + here);
        high.store_key(keys + here + kHighKey);
      } else if (args.values_offset != 0) {  // else they aren't there yet
        wait_for_copies(shared.values_here + warp, 0);
        low.store_value(keys + args.values_offset + here);
        high.store_value(keys + args.values_offset + here + kHighValue);
      }
    }
    if (is_rehearsal) return;
    std::byte* head = args.cache + block * args.block_bytes + kv_head_of_block() * args.head_bytes;
    std::byte* cached = head + in_head;
    if (is_value) {
      low.store_value(cached);
      high.store_value(cached + kHighValue);
    } else {
      low.store_key(cached);
      high.store_key(cached + kHighKey);
    }
    if (Codec::kCoded && d == 0) *reinterpret_cast<float*>(head + scale_in_head) = scale;
  }

 private:
  static constexpr int kBytes = Codec::kCoded ? 1 : 2;
  // D/2 further on.
  static constexpr int kHighKey = kBytes * cache_offset(kBytes, kDim, false, 0, kHalf);
  static constexpr int kHighValue = kBytes * cache_offset(kBytes, kDim, true, 0, kHalf);

  __device__ __forceinline__ void find_places(const DecodeArgs& args, const DecodeTile& tile) {
    const auto position = static_cast<unsigned>(tile.slice.first_position + token);
    const int chunk = static_cast<int>(position / kChunkPositions);
    if (chunk < tile.first_chunk || chunk > tile.last_chunk) return;
    const auto block_size = static_cast<unsigned>(args.block_size);
    const auto offset = position % block_size;
    const auto p = static_cast<int>(position % 16);
    const int in_run = kBytes * cache_offset(kBytes, kDim, is_value, p, d);
    appends = true;
    block = args.tables[tile.slice.first_entry + static_cast<int>(position / block_size)];
    const unsigned runs = block_size / 16;
    in_head = static_cast<int>(offset / 16 + (is_value ? runs : 0)) * Chunk::kRunBytes + in_run;
    if constexpr (Codec::kCoded)
      scale_in_head = static_cast<int>(2 * runs) * Chunk::kRunBytes +
                      static_cast<int>(offset + (is_value ? block_size : 0)) * 4;
    if (chunk != tile.first_chunk) return;
    in_chunk = static_cast<int>(position % kChunkPositions);
    here = in_chunk / 16 * Chunk::kRunBytes + in_run;
  }
};

/// Queries of the tile; keys and values of its tokens in the block's chunks. Returns when they are
/// where they belong, but for a barrier. The QKV projection is there (but in a rehearsal);
/// `item` and `loads` are the thread's first.
template <class Codec, int kDim, int kHalves>
__device__ __forceinline__ void take_heads(const DecodeArgs& args, const DecodeTile& tile,
                                           bool is_rehearsal, DecodeItem<Codec, kDim> item,
                                           HeadLoads loads, DecodeShared<Codec, kDim>& shared,
                                           std::uint32_t* queries, std::byte* keys) {
  using Item = DecodeItem<Codec, kDim>;
  const bool has_norm = args.q_norm != nullptr || args.k_norm != nullptr;
  const int num_items = tile.num_rows + 2 * tile.slice.num_tokens;
  if (has_norm) {
    find_norm_scales<kDim>(args, tile.slice.first_token, tile.slice.num_tokens, tile.first_query,
                           tile.num_rows, shared.norm_scales);
    __syncthreads();
  }
#pragma unroll 1
  for (int begin = 0;;) {
    const HeadPart part = item.finish(args, tile, loads, shared.norm_scales, has_norm);
    std::uint32_t largest = 0;
    if constexpr (Codec::kCoded) largest = largest_magnitude<Item::kThreads>(part);
    if (item.is_query) {
      item.template store_query<kHalves>(part, largest, queries, shared.query_scales);
    } else if (item.appends) {
      item.append(args, part, largest, is_rehearsal, shared, keys);
    }
    begin += kAttentionThreads / Item::kThreads;
    if (begin >= num_items) break;
    item = Item(args, tile, begin);
    loads = item.load(args);
  }
}

}  // namespace iol::cuda
