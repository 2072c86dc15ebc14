#include "tokenizer/byte_alphabet.h"

#include "tokenizer/utf8.h"

namespace iol {

std::optional<std::string> spelled_bytes(std::string_view token) {
  std::string bytes;
  for (std::size_t offset = 0; offset < token.size();) {
    const char32_t character = next_code_point(token, offset);
    if (character >= kByteAlphabetEnd || kCharacterToByte[character] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kCharacterToByte[character]));
  }
  return bytes;
}

std::string spell_bytes(std::string_view bytes) {
  std::string token;
  for (const char byte : bytes) {
    append_utf8(kByteToCharacter[static_cast<unsigned char>(byte)], token);
  }
  return token;
}

}  // namespace iol
