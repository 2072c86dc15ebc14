#include "tokenizer/word_cache.h"

#include "base/error.h"
#include "tokenizer/vocabulary.h"

namespace iol {

std::optional<std::span<const std::int32_t>> WordCache::find(std::string_view word) const {
  const Slot& slot = slots_[slot_of(word, static_cast<std::uint32_t>(hash_bytes(word)))];
  if (slot.word_length == 0) return std::nullopt;
  return std::span(ids_).subspan(slot.ids_begin, slot.num_ids);
}

void WordCache::insert(std::string_view word, std::span<const std::int32_t> ids) {
  IOL_CHECK(!word.empty() && word.size() <= kMaxWordBytes);
  if (num_words_ == kMaxWords || ids.size() > UINT16_MAX) return;
  if (slots_.size() < (num_words_ + 1) * 2) grow();
  const auto hash = static_cast<std::uint32_t>(hash_bytes(word));
  slots_[slot_of(word, hash)] = {
      hash, static_cast<std::uint32_t>(bytes_.size()), static_cast<std::uint32_t>(ids_.size()),
      static_cast<std::uint16_t>(ids.size()), static_cast<std::uint16_t>(word.size())};
  bytes_ += word;
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  ++num_words_;
}

std::size_t WordCache::slot_of(std::string_view word, std::uint32_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = hash & mask;; i = (i + 1) & mask) {
    const Slot& slot = slots_[i];
    if (slot.word_length == 0) return i;
    if (slot.hash == hash &&
        std::string_view(bytes_).substr(slot.word_begin, slot.word_length) == word) {
      return i;
    }
  }
}

void WordCache::grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  const std::size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.word_length == 0) continue;
    std::size_t i = slot.hash & mask;
    while (slots_[i].word_length != 0) i = (i + 1) & mask;
    slots_[i] = slot;
  }
}

}  // namespace iol
