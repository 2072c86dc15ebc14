#include "tokenizer/vocabulary.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "base/random.h"

namespace iol {

std::uint64_t hash_bytes(std::string_view bytes) {
  constexpr std::uint64_t kMultiplier = 0x9e3779b97f4a7c15ULL;
  std::uint64_t state = bytes.size() * kMultiplier;
  std::uint64_t word = 0;
  while (bytes.size() >= 8) {
    std::memcpy(&word, bytes.data(), 8);
    state = std::rotl(state ^ word, 29) * kMultiplier;
    bytes.remove_prefix(8);
  }
  word = 0;
  std::memcpy(&word, bytes.data(), bytes.size());
  return mix64(state ^ word);
}

void Vocabulary::reserve(std::size_t num_tokens, std::size_t num_bytes) {
  bytes_.reserve(num_bytes);
  entries_.reserve(num_tokens);
  const std::size_t num_slots = std::bit_ceil(std::max<std::size_t>(num_tokens, 8) * 2);
  if (num_slots > slots_.size()) rehash(num_slots);
}

Vocabulary::AddResult Vocabulary::add(std::string_view token, std::int32_t id) {
  IOL_CHECK(id >= 0 && id < kMaxIds && bytes_.size() + token.size() < kUnused);
  if (slots_.size() < (num_tokens_ + 1) * 2) rehash(std::bit_ceil((num_tokens_ + 8) * 2));
  const std::uint64_t hash = hash_bytes(token);
  const std::size_t slot = slot_of(token, hash);
  if (slots_[slot].id >= 0) return AddResult::kTokenExists;
  const auto index = static_cast<std::size_t>(id);
  if (index >= entries_.size()) entries_.resize(index + 1);
  if (entries_[index].length != kUnused) return AddResult::kIdExists;
  entries_[index] = {static_cast<std::uint32_t>(bytes_.size()),
                     static_cast<std::uint32_t>(token.size())};
  bytes_ += token;
  slots_[slot] = {static_cast<std::uint32_t>(hash), id};
  ++num_tokens_;
  return AddResult::kAdded;
}

std::optional<std::int32_t> Vocabulary::find(std::string_view token) const {
  if (slots_.empty()) return std::nullopt;
  const std::int32_t id = slots_[slot_of(token, hash_bytes(token))].id;
  return id < 0 ? std::nullopt : std::optional(id);
}

std::optional<std::string_view> Vocabulary::token(std::int32_t id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= entries_.size()) return std::nullopt;
  const Entry& entry = entries_[static_cast<std::size_t>(id)];
  if (entry.length == kUnused) return std::nullopt;
  return view(entry);
}

std::size_t Vocabulary::slot_of(std::string_view token, std::uint64_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t slot = hash & mask;; slot = (slot + 1) & mask) {
    const Slot& candidate = slots_[slot];
    if (candidate.id < 0) return slot;
    if (candidate.hash == static_cast<std::uint32_t>(hash) &&
        view(entries_[static_cast<std::size_t>(candidate.id)]) == token) {
      return slot;
    }
  }
}

void Vocabulary::rehash(std::size_t num_slots) {
  slots_.assign(num_slots, Slot{0, -1});
  const std::size_t mask = num_slots - 1;
  for (std::size_t id = 0; id < entries_.size(); ++id) {
    if (entries_[id].length == kUnused) continue;
    const std::uint64_t hash = hash_bytes(view(entries_[id]));
    std::size_t slot = hash & mask;
    while (slots_[slot].id >= 0) slot = (slot + 1) & mask;
    slots_[slot] = {static_cast<std::uint32_t>(hash), static_cast<std::int32_t>(id)};
  }
}

}  // namespace iol
