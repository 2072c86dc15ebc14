#include "workload/seen_blocks.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace iol {

namespace {

constexpr std::size_t kAhead = 16;
constexpr std::size_t kGrowth = 4;

/// A hash of 0 would look like an empty place; it shares 1 with another id in 2^64.
std::uint64_t hash_of(std::int64_t id) {
  return std::max<std::uint64_t>(mix64(static_cast<std::uint64_t>(id) + 0x9e3779b97f4a7c15ULL), 1);
}

}  // namespace

SeenBlocks::SeenBlocks(std::size_t max_ids)
    : pages_(kDenseIds / kPageIds), max_ids_(max_ids), table_(1 << 12) {}

void SeenBlocks::add(std::int64_t id) {
  ++accesses_;
  is_dense(id) ? add_dense(id) : add_hash(id);
}

void SeenBlocks::add_dense(std::int64_t id) {
  const auto number = static_cast<std::uint64_t>(id);
  Page& page = pages_[number / kPageIds];
  if (page.empty()) page.resize(kPageIds / 64);
  std::uint64_t& word = page[number % kPageIds / 64];
  const std::uint64_t bit = std::uint64_t{1} << (number % 64);
  ++dense_accesses_;
  dense_different_ += (word & bit) == 0 ? 1 : 0;
  word |= bit;
}

void SeenBlocks::add_hash(std::int64_t id) {
  const std::uint64_t hash = hash_of(id);
  if (hash > limit_) return;
  ++sampled_;
  if (!insert(hash)) {
    ++hits_;
    return;
  }
  if (size_ > max_ids_) drop_half();
}

void SeenBlocks::add(std::span<const std::int64_t> ids) {
  const auto fetch = [&](std::size_t i) {
    if (is_dense(ids[i])) return;
    __builtin_prefetch(&table_[hash_of(ids[i]) & (table_.size() - 1)], 1);
  };
  accesses_ += static_cast<std::int64_t>(ids.size());
  for (std::size_t i = 0; i < std::min(kAhead, ids.size()); ++i) fetch(i);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i + kAhead < ids.size()) fetch(i + kAhead);
    is_dense(ids[i]) ? add_dense(ids[i]) : add_hash(ids[i]);
  }
}

bool SeenBlocks::insert(std::uint64_t hash) {
  if (2 * (size_ + 1) > table_.size()) grow();
  const std::size_t mask = table_.size() - 1;
  std::size_t place = hash & mask;
  while (table_[place] != 0) {
    if (table_[place] == hash) return false;
    place = (place + 1) & mask;
  }
  table_[place] = hash;
  ++size_;
  return true;
}

void SeenBlocks::grow() {
  std::vector<std::uint64_t> old(kGrowth * table_.size());
  old.swap(table_);
  size_ = 0;
  for (std::size_t i = 0; i < old.size(); ++i) {
    if (i + kAhead < old.size()) {
      __builtin_prefetch(&table_[old[i + kAhead] & (table_.size() - 1)], 1);
    }
    if (old[i] != 0) insert(old[i]);
  }
}

void SeenBlocks::drop_half() {
  // The accesses so far to the ids that leave are forgotten with them; which were hits isn't known
  // per id, so both counts shrink alike. The share stays what it was.
  limit_ /= 2;
  std::vector<std::uint64_t> old(table_.size());
  old.swap(table_);
  const auto before = static_cast<double>(size_);
  size_ = 0;
  for (const std::uint64_t hash : old) {
    if (hash != 0 && hash <= limit_) insert(hash);
  }
  const double kept = static_cast<double>(size_) / before;
  sampled_ = std::llround(static_cast<double>(sampled_) * kept);
  hits_ = std::llround(static_cast<double>(hits_) * kept);
}

double SeenBlocks::hit_share() const {
  if (accesses_ == 0) return 0;
  const double sampled_share =
      sampled_ == 0 ? 0 : static_cast<double>(hits_) / static_cast<double>(sampled_);
  const double hits = static_cast<double>(dense_accesses_ - dense_different_) +
                      sampled_share * static_cast<double>(accesses_ - dense_accesses_);
  return hits / static_cast<double>(accesses_);
}

double SeenBlocks::different() const {
  return static_cast<double>(dense_different_) + static_cast<double>(size_) / sampled_share();
}

double SeenBlocks::sampled_share() const {
  return static_cast<double>(limit_) / static_cast<double>(~std::uint64_t{0});
}

}  // namespace iol
