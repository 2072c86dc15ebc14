#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace iol {

/// A token that is found in the text as it stands, before any splitting.
struct AddedToken {
  std::string content;
  std::int32_t id = 0;
  bool is_special = false;      // left out by decode()
  bool is_normalized = false;   // sought in the normalized text
  bool strips_left = false;     // takes the whitespace before it along
  bool strips_right = false;    // takes the whitespace behind it along
  bool is_single_word = false;  // only where no word character touches it
};

/// Finds added tokens in a text: the leftmost first, the longest of those that start there.
/// Immutable once built; thread-safe. Time is linear in the text for tokens of ordinary length.
class AddedTokenMatcher {
 public:
  /// `tokens[i]` is sought as `contents[i]` (not empty); of equal contents the first one wins.
  AddedTokenMatcher(std::vector<AddedToken> tokens, std::vector<std::string> contents);
  AddedTokenMatcher() : AddedTokenMatcher({}, {}) {}

  /// Calls `on_text` with the non-empty texts between the tokens, and `on_token` with the tokens,
  /// in order.
  void split(std::string_view text, const std::function<void(std::string_view)>& on_text,
             const std::function<void(std::int32_t)>& on_token) const;

 private:
  struct Found {
    std::size_t begin;
    std::size_t end;
    const AddedToken* token;
  };
  struct Candidates {
    std::uint32_t begin = 0;  // of patterns_
    std::uint32_t end = 0;
  };
  struct SoughtToken {
    std::string content;
    AddedToken token;
  };
  [[nodiscard]] std::optional<Found> find(std::string_view text, std::size_t from) const;
  [[nodiscard]] const SoughtToken* longest_at(std::string_view text) const;

  std::vector<SoughtToken> sought_;            // sorted by content
  std::array<Candidates, 256> by_first_byte_;  // ranges of sought_
};

}  // namespace iol
