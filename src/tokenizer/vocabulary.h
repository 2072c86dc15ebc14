#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace iol {

/// A good 64-bit hash of a byte string; the same in every run.
std::uint64_t hash_bytes(std::string_view bytes);

/// Token strings and their ids, both ways. Strings live one after the other in one buffer, so that
/// a vocabulary of 128k tokens costs a few allocations.
class Vocabulary {
 public:
  /// Ids stay below this: an absurd id in a file must not decide how much memory we take.
  static constexpr std::int64_t kMaxIds = std::int64_t{1} << 22;

  enum class AddResult { kAdded, kTokenExists, kIdExists };

  void reserve(std::size_t num_tokens, std::size_t num_bytes);
  /// `id` must be in [0, kMaxIds).
  AddResult add(std::string_view token, std::int32_t id);

  [[nodiscard]] std::optional<std::int32_t> find(std::string_view token) const;
  /// Nothing when no token has this id.
  [[nodiscard]] std::optional<std::string_view> token(std::int32_t id) const;
  /// Largest id plus one.
  [[nodiscard]] int size() const { return static_cast<int>(entries_.size()); }

 private:
  struct Entry {
    std::uint32_t offset = 0;
    std::uint32_t length = kUnused;
  };
  struct Slot {
    std::uint32_t hash;
    std::int32_t id;  // -1: free
  };
  static constexpr std::uint32_t kUnused = ~std::uint32_t{0};

  [[nodiscard]] std::string_view view(const Entry& entry) const {
    return std::string_view(bytes_).substr(entry.offset, entry.length);
  }
  [[nodiscard]] std::size_t slot_of(std::string_view token, std::uint64_t hash) const;
  void rehash(std::size_t num_slots);

  std::string bytes_;
  std::vector<Entry> entries_;  // [id]
  std::vector<Slot> slots_;     // power of two, at most half full
  std::size_t num_tokens_ = 0;
};

}  // namespace iol
