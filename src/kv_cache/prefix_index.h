#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "request/sequence.h"

namespace iol {

/// Finds the block that already holds the keys and values of given tokens after a given prefix.
///
/// Keys and values depend on all tokens before them, so an entry is named by the block of its
/// prefix (its parent, itself an entry, or none at the start of a sequence) and the block_size
/// tokens of its own. Tokens are compared, so a hash collision costs time and never a wrong hit.
/// An entry outlives its children: erasing a parent first throws InternalError.
///
/// Storage is allocated once. Not thread-safe.
class PrefixIndex {
 public:
  static constexpr BlockId kNoParent = -1;
  using Hash = std::uint64_t (*)(BlockId parent, std::span<const std::int32_t> tokens);
  static std::uint64_t default_hash(BlockId parent, std::span<const std::int32_t> tokens);

  PrefixIndex(int num_blocks, int block_size_tokens, Hash hash = default_hash);

  /// The block of these block_size tokens after `parent`.
  [[nodiscard]] std::optional<BlockId> find(BlockId parent,
                                            std::span<const std::int32_t> tokens) const;
  /// Appends to `blocks` the chain of blocks that holds the longest cached prefix of `tokens`, at
  /// most max_blocks of them.
  void find_prefix(std::span<const std::int32_t> tokens, int max_blocks,
                   std::vector<BlockId>& blocks) const;
  /// Names `block`, which is no entry yet. No equal entry exists, and `parent` is an entry or
  /// kNoParent.
  void insert(BlockId parent, std::span<const std::int32_t> tokens, BlockId block);
  /// Forgets an entry without children.
  void erase(BlockId block);
  /// Forgets everything.
  void clear();

  [[nodiscard]] bool contains(BlockId block) const;
  [[nodiscard]] int size() const { return size_; }

 private:
  struct Entry {
    BlockId parent = kNoParent;
    BlockId next = kNoParent;  // in its bucket
    int num_children = 0;
    std::uint32_t bucket = 0;
    bool present = false;
  };

  [[nodiscard]] std::uint32_t bucket_of(BlockId parent, std::span<const std::int32_t> tokens) const;
  [[nodiscard]] std::span<const std::int32_t> tokens_of(BlockId block) const;

  std::size_t block_size_;
  Hash hash_;
  std::vector<Entry> entries_;        // [num_blocks]
  std::vector<std::int32_t> tokens_;  // [num_blocks, block_size]
  std::vector<BlockId> buckets_;      // first entry of each; a power of two of them
  int size_ = 0;
};

}  // namespace iol
