#pragma once
#include <cstdint>
#include <vector>

namespace iol {

/// What two neighbouring tokens become, and how early: (left, right) -> (rank, product).
class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank;
    std::int32_t product;  // token id
  };

  void reserve(std::size_t num_merges);
  /// A later merge of the same pair replaces an earlier one.
  void add(std::int32_t left, std::int32_t right, Merge merge);
  /// Null when the two don't merge.
  [[nodiscard]] const Merge* find(std::int32_t left, std::int32_t right) const;

 private:
  struct Slot {
    std::uint64_t pair = kFree;
    Merge merge{};
  };
  static constexpr std::uint64_t kFree = ~std::uint64_t{0};  // no pair: ids are not negative

  [[nodiscard]] std::size_t slot_of(std::uint64_t pair) const;
  void rehash(std::size_t num_slots);

  std::vector<Slot> slots_;  // power of two, at most half full
  std::size_t num_merges_ = 0;
};

/// Working memory of apply_merges, kept between words.
struct MergeScratch {
  struct Symbol {
    std::int32_t token;
    std::int32_t previous;  // index; -1: none
    std::int32_t next;      // index; -1: none
    bool is_merged = false;
  };
  struct Candidate {
    std::uint64_t rank_and_position;  // rank in the high half
    std::int32_t product;
    bool operator>(const Candidate& other) const {
      return rank_and_position > other.rank_and_position;
    }
  };
  std::vector<MergeTable::Merge> pairs;  // [symbols - 1]
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

/// Byte-pair encoding of one word (Sennrich, Haddow, Birch 2016): while any neighbours merge, merge
/// the pair of the lowest rank, the leftmost among equals. `symbols` are token ids, replaced by the
/// result. O(n log n) in the number of symbols.
void apply_merges(const MergeTable& merges, std::vector<std::int32_t>& symbols,
                  MergeScratch& scratch);

}  // namespace iol
