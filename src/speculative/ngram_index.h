#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace iol {

/// Finds where the end of a text occurred before in it: the latest occurrence of its last 12
/// tokens, else of its last 5, else of its last 3. Hash tables of positions, one per length; tokens
/// are compared, so a collision costs time and never gives a wrong match.
///
/// O(1) per appended token and per search (amortized: tables double). 24 bytes per token.
class NgramIndex {
 public:
  static constexpr std::array<int, 3> kLengths = {12, 5, 3};

  /// Room for so many tokens before the first doubling.
  explicit NgramIndex(std::size_t num_tokens);

  /// Takes in what was appended to `text` since the last call.
  void catch_up(std::span<const std::int32_t> text);
  /// The position in `text` of the token that followed the occurrence, after catch_up(text).
  [[nodiscard]] std::optional<std::size_t> find(std::span<const std::int32_t> text) const;

 private:
  using Position = std::int32_t;
  struct Table {
    std::vector<Position> slots;  // where an occurrence ended; 0: free. A power of two of them
    std::size_t num_used = 0;
  };

  void insert(Table& table, std::span<const std::int32_t> text, std::size_t end, int length,
              std::uint64_t hash);
  void grow(Table& table, std::span<const std::int32_t> text, int length);

  std::array<Table, kLengths.size()> tables_;
  std::size_t num_indexed_ = 0;  // occurrences that end up to here are in the tables
};

}  // namespace iol
