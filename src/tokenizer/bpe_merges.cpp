#include "tokenizer/bpe_merges.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <optional>

#include "base/random.h"

namespace iol {
namespace {

constexpr std::uint32_t kNoMerge = ~std::uint32_t{0};
/// Up to here, scanning all pairs for the lowest rank is faster than keeping a heap.
constexpr std::size_t kMaxScannedSymbols = 40;

std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

/// For short words: quadratic, but in a handful of cache lines.
void merge_by_scanning(const MergeTable& merges, std::vector<std::int32_t>& symbols,
                       MergeScratch& scratch) {
  auto& pairs = scratch.pairs;
  const auto merge_at = [&](std::size_t i) {
    const auto* merge = merges.find(symbols[i], symbols[i + 1]);
    return merge == nullptr ? MergeTable::Merge{kNoMerge, 0} : *merge;
  };
  pairs.clear();
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) pairs.push_back(merge_at(i));
  while (!pairs.empty()) {
    const auto best = std::min_element(
        pairs.begin(), pairs.end(), [](const auto& a, const auto& b) { return a.rank < b.rank; });
    if (best->rank == kNoMerge) return;
    const auto i = static_cast<std::size_t>(best - pairs.begin());
    symbols[i] = best->product;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    pairs.erase(best);
    if (i > 0) pairs[i - 1] = merge_at(i - 1);
    if (i < pairs.size()) pairs[i] = merge_at(i);
  }
}

/// For long words: a linked list of symbols and a heap of candidate pairs. A candidate that is out
/// of date is recognized when it is taken: its pair no longer has the product it was entered with.
class HeapMerger {
 public:
  HeapMerger(const MergeTable& merges, MergeScratch& scratch)
      : merges_(merges), symbols_(scratch.symbols), heap_(scratch.heap) {}

  void run(std::vector<std::int32_t>& tokens) {
    link(tokens);
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
      const auto candidate = heap_.back();
      heap_.pop_back();
      merge(static_cast<std::int32_t>(candidate.rank_and_position & 0xffffffffU),
            candidate.product);
    }
    tokens.clear();
    for (const auto& symbol : symbols_) {
      if (!symbol.is_merged) tokens.push_back(symbol.token);
    }
  }

 private:
  void link(const std::vector<std::int32_t>& tokens) {
    const auto count = static_cast<std::int32_t>(tokens.size());
    symbols_.clear();
    heap_.clear();
    for (std::int32_t i = 0; i < count; ++i) {
      symbols_.push_back({tokens[static_cast<std::size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
    }
    for (std::int32_t i = 0; i + 1 < count; ++i) {
      if (const auto found = candidate_at(i)) heap_.push_back(*found);
    }
    std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  }

  MergeScratch::Symbol& at(std::int32_t i) { return symbols_[static_cast<std::size_t>(i)]; }

  std::optional<MergeScratch::Candidate> candidate_at(std::int32_t left) {
    const auto* merge = merges_.find(at(left).token, at(at(left).next).token);
    if (merge == nullptr) return std::nullopt;
    return MergeScratch::Candidate{
        static_cast<std::uint64_t>(merge->rank) << 32 | static_cast<std::uint32_t>(left),
        merge->product};
  }

  void push_candidate(std::int32_t left) {
    if (const auto candidate = candidate_at(left)) {
      heap_.push_back(*candidate);
      std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
    }
  }

  void merge(std::int32_t i, std::int32_t product) {
    auto& left = at(i);
    if (left.is_merged || left.next < 0) return;
    auto& right = at(left.next);
    const auto* current = merges_.find(left.token, right.token);
    if (current == nullptr || current->product != product) return;
    left.token = product;
    left.next = right.next;
    right.is_merged = true;
    if (left.next >= 0) at(left.next).previous = i;
    if (left.previous >= 0) push_candidate(left.previous);
    if (left.next >= 0) push_candidate(i);
  }

  const MergeTable& merges_;
  std::vector<MergeScratch::Symbol>& symbols_;
  std::vector<MergeScratch::Candidate>& heap_;
};

}  // namespace

void MergeTable::reserve(std::size_t num_merges) {
  const std::size_t num_slots = std::bit_ceil(std::max<std::size_t>(num_merges, 8) * 2);
  if (num_slots > slots_.size()) rehash(num_slots);
}

void MergeTable::add(std::int32_t left, std::int32_t right, Merge merge) {
  if (slots_.size() < (num_merges_ + 1) * 2) rehash(std::bit_ceil((num_merges_ + 8) * 2));
  Slot& slot = slots_[slot_of(pair_of(left, right))];
  if (slot.pair == kFree) ++num_merges_;
  slot = {pair_of(left, right), merge};
}

const MergeTable::Merge* MergeTable::find(std::int32_t left, std::int32_t right) const {
  if (slots_.empty()) return nullptr;
  const Slot& slot = slots_[slot_of(pair_of(left, right))];
  return slot.pair == kFree ? nullptr : &slot.merge;
}

std::size_t MergeTable::slot_of(std::uint64_t pair) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = mix64(pair) & mask;
  while (slots_[slot].pair != pair && slots_[slot].pair != kFree) slot = (slot + 1) & mask;
  return slot;
}

void MergeTable::rehash(std::size_t num_slots) {
  std::vector<Slot> old(num_slots);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.pair != kFree) slots_[slot_of(slot.pair)] = slot;
  }
}

void apply_merges(const MergeTable& merges, std::vector<std::int32_t>& symbols,
                  MergeScratch& scratch) {
  if (symbols.size() <= kMaxScannedSymbols) {
    merge_by_scanning(merges, symbols, scratch);
  } else {
    HeapMerger(merges, scratch).run(symbols);
  }
}

}  // namespace iol
