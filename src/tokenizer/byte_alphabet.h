#pragma once
// The 256 characters in which byte-level vocabularies spell bytes (GPT-2; Radford et al. 2019):
// printable Latin-1 stands for itself, the other bytes for U+0100, U+0101, ... in order.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace iol {

constexpr bool spells_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte != 0xad);
}

inline constexpr std::array<char32_t, 256> kByteToCharacter = [] {
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    characters[static_cast<std::size_t>(byte)] =
        spells_itself(byte) ? static_cast<char32_t>(byte) : next++;
  }
  return characters;
}();

inline constexpr char32_t kByteAlphabetEnd = 0x100 + 256 - 188;  // 188 bytes spell themselves

/// [character] -> byte, or -1 where the character spells none.
inline constexpr std::array<std::int16_t, kByteAlphabetEnd> kCharacterToByte = [] {
  std::array<std::int16_t, kByteAlphabetEnd> bytes{};
  bytes.fill(-1);
  for (std::size_t byte = 0; byte < 256; ++byte) {
    bytes[kByteToCharacter[byte]] = static_cast<std::int16_t>(byte);
  }
  return bytes;
}();

/// The bytes that `token` spells; nothing when a character is not of the alphabet.
std::optional<std::string> spelled_bytes(std::string_view token);
/// The spelling of `bytes`.
std::string spell_bytes(std::string_view bytes);

}  // namespace iol
