#pragma once
#include <cstdint>
#include <memory>
#include <string>

namespace iol {

class DecodeStream;
class Tokenizer;

/// Turns ids into text while they are being generated.
///
/// The strings returned by all calls of push() and by finish(), one after the other, are exactly
/// `tokenizer.decode(all ids)`; each is valid UTF-8 by itself. Text is held back only as long as a
/// later id could still change it: half a character, a run of byte-fallback tokens.
///
/// Lifetime: the tokenizer must outlive it. Threading: one thread at a time.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = true);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  /// The text that this id made readable; often empty in the middle of a character.
  [[nodiscard]] std::string push(std::int32_t id);
  /// The text still held back. Afterwards the decoder is as new.
  [[nodiscard]] std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  std::unique_ptr<DecodeStream> stream_;
};

}  // namespace iol
