#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace iol {

/// The ids of the words met so far in one text, since a text repeats its words. One thread.
class WordCache {
 public:
  /// Longer words are not worth keeping.
  static constexpr std::size_t kMaxWordBytes = 48;

  WordCache() : slots_(kFirstSlots) {}

  /// What was inserted for `word` (1 to kMaxWordBytes bytes). Valid until the next insert().
  [[nodiscard]] std::optional<std::span<const std::int32_t>> find(std::string_view word) const;
  /// `word` must not be there. Does nothing once the cache is full.
  void insert(std::string_view word, std::span<const std::int32_t> ids);

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t word_begin = 0;  // in bytes_
    std::uint32_t ids_begin = 0;   // in ids_
    std::uint16_t num_ids = 0;
    std::uint16_t word_length = 0;  // 0: free
  };
  static constexpr std::size_t kFirstSlots = 256;
  static constexpr std::size_t kMaxWords = std::size_t{1} << 16;

  [[nodiscard]] std::size_t slot_of(std::string_view word, std::uint32_t hash) const;
  void grow();

  std::vector<Slot> slots_;  // power of two, at most half full
  std::string bytes_;
  std::vector<std::int32_t> ids_;
  std::size_t num_words_ = 0;
};

}  // namespace iol
