#include "speculative/ngram_index.h"

#include <algorithm>
#include <bit>

#include "base/random.h"

namespace iol {
namespace {

/// Hashes of the last tokens before `end`, for each of kLengths that the text has; the longest
/// first.
using Hashes = std::array<std::uint64_t, NgramIndex::kLengths.size()>;

Hashes hashes_before(std::span<const std::int32_t> text, std::size_t end) {
  Hashes hashes{};
  std::uint64_t hash = 0;
  std::size_t used = 0;
  for (std::size_t i = NgramIndex::kLengths.size(); i-- > 0;) {
    const auto length = static_cast<std::size_t>(NgramIndex::kLengths[i]);
    for (; used < std::min(length, end); ++used) {
      hash = (hash ^ static_cast<std::uint32_t>(text[end - 1 - used])) * 0x9e3779b97f4a7c15ULL;
      hash ^= hash >> 32;
    }
    hashes[i] = mix64(hash);
  }
  return hashes;
}

bool same_before(std::span<const std::int32_t> text, std::size_t a, std::size_t b, int length) {
  const auto count = static_cast<std::size_t>(length);
  return std::ranges::equal(text.subspan(a - count, count), text.subspan(b - count, count));
}

/// The slot of the tokens before `end`, or the free one where they belong.
template <class Slots>
auto& find_slot(Slots& slots, std::span<const std::int32_t> text, std::size_t end, int length,
                std::uint64_t hash) {
  const std::size_t mask = slots.size() - 1;
  std::size_t i = hash & mask;
  while (slots[i] != 0 && !same_before(text, static_cast<std::size_t>(slots[i]), end, length)) {
    i = (i + 1) & mask;
  }
  return slots[i];
}

}  // namespace

NgramIndex::NgramIndex(std::size_t num_tokens) {
  const std::size_t num_slots = std::bit_ceil(std::max<std::size_t>(2 * num_tokens, 64));
  for (Table& table : tables_) table.slots.assign(num_slots, 0);
}

void NgramIndex::catch_up(std::span<const std::int32_t> text) {
  // The end itself stays out: it is what find() looks for.
  while (num_indexed_ + 1 < text.size()) {
    const std::size_t end = ++num_indexed_;
    const Hashes hashes = hashes_before(text, end);
    for (std::size_t i = 0; i < tables_.size(); ++i) {
      if (end < static_cast<std::size_t>(kLengths[i])) continue;
      insert(tables_[i], text, end, kLengths[i], hashes[i]);
    }
  }
}

void NgramIndex::insert(Table& table, std::span<const std::int32_t> text, std::size_t end,
                        int length, std::uint64_t hash) {
  Position& slot = find_slot(table.slots, text, end, length, hash);
  const bool is_new = slot == 0;
  slot = static_cast<Position>(end);
  if (is_new && 2 * ++table.num_used > table.slots.size()) grow(table, text, length);
}

void NgramIndex::grow(Table& table, std::span<const std::int32_t> text, int length) {
  const std::vector<Position> old = std::move(table.slots);
  table.slots.assign(2 * old.size(), 0);
  const auto index =
      static_cast<std::size_t>(std::ranges::find(kLengths, length) - kLengths.begin());
  for (const Position end : old) {
    if (end == 0) continue;
    const auto position = static_cast<std::size_t>(end);
    find_slot(table.slots, text, position, length, hashes_before(text, position)[index]) = end;
  }
}

std::optional<std::size_t> NgramIndex::find(std::span<const std::int32_t> text) const {
  const Hashes hashes = hashes_before(text, text.size());
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    if (text.size() <= static_cast<std::size_t>(kLengths[i])) continue;
    const auto slot = find_slot(tables_[i].slots, text, text.size(), kLengths[i], hashes[i]);
    if (slot != 0) return static_cast<std::size_t>(slot);
  }
  return std::nullopt;
}

}  // namespace iol
