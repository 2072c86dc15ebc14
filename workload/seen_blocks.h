#pragma once
// How much of a trace's prefix blocks came before, in bounded memory.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace iol {

/// Counts accesses to block ids and those that repeat an earlier one: the hits of a cache that
/// forgets nothing.
///
/// Ids from 0 to kDenseIds - 1, as traces number their blocks, take a bit each and are exact. Other
/// ids (hashes) are exact until there are `max_ids` of them; from then on counted over those whose
/// hash lies below a limit that is halved whenever they are too many (C. Waldspurger et al.,
/// "Efficient MRC construction with SHARDS", FAST 2015), so that the share stays an unbiased
/// estimate.
class SeenBlocks {
 public:
  static constexpr std::int64_t kDenseIds = std::int64_t{1} << 28;  // 32 MiB of bits at most

  explicit SeenBlocks(std::size_t max_ids = std::size_t{1} << 22);
  void add(std::int64_t id);
  /// The same for each of them, faster: the table of hashes is larger than any cache, so its lines
  /// are fetched ahead.
  void add(std::span<const std::int64_t> ids);
  [[nodiscard]] std::int64_t accesses() const { return accesses_; }
  /// Share of the accesses that are hits; 0 without any.
  [[nodiscard]] double hit_share() const;
  /// Different ids; an estimate when sampled.
  [[nodiscard]] double different() const;
  /// Of the ids that are hashes: 1 when every one was looked at.
  [[nodiscard]] double sampled_share() const;

 private:
  static constexpr std::uint64_t kPageIds = std::uint64_t{1} << 18;
  using Page = std::vector<std::uint64_t>;

  static bool is_dense(std::int64_t id) { return id >= 0 && id < kDenseIds; }
  void add_dense(std::int64_t id);
  void add_hash(std::int64_t id);
  void grow();
  void drop_half();
  bool insert(std::uint64_t hash);  // false when it was there

  std::int64_t accesses_ = 0;
  // One bit per id.
  std::vector<Page> pages_;  // [kDenseIds / kPageIds]; empty until one of its ids comes
  std::int64_t dense_different_ = 0;
  std::int64_t dense_accesses_ = 0;
  // A table of the other ids' hashes.
  std::size_t max_ids_;
  std::vector<std::uint64_t> table_;  // open addressing; 0 is an empty place
  std::size_t size_ = 0;
  std::uint64_t limit_ = ~std::uint64_t{0};
  std::int64_t sampled_ = 0;
  std::int64_t hits_ = 0;
};

}  // namespace iol
