#pragma once
#include <string>
#include <string_view>

#include "tokenizer/decoder.h"
#include "tokenizer/pattern.h"
#include "tokenizer/utf8.h"

namespace iol {

/// Tokens with a space between them.
class JoinWithSpaces : public DecodeStep {
 public:
  using DecodeStep::DecodeStep;
  void push(std::string_view token) override;

 private:
  bool is_first_ = true;
};

/// Characters of the byte alphabet become their bytes, and all bytes together text. A token with
/// any other character stands for its own bytes.
class DecodeByteLevel : public DecodeStep {
 public:
  using DecodeStep::DecodeStep;
  void push(std::string_view token) override;
  void finish() override;

 private:
  Utf8Repair repair_;
};

/// A run of "<0x..>" tokens becomes the text that its bytes spell, or one U+FFFD per byte when they
/// spell none: so a run can't be handed on before it ends.
class DecodeByteFallback : public DecodeStep {
 public:
  using DecodeStep::DecodeStep;
  void push(std::string_view token) override;
  void finish() override;

 private:
  void flush();

  std::string bytes_;
};

struct StripOptions {
  std::string content;  // one character
  std::size_t start;    // at most so many are removed at the start of a token
  std::size_t stop;     // and so many at its end
};

/// Removes a character from the ends of each token.
Decoder::MakeStep make_strip_step(StripOptions options, bool is_fused);

/// The space mark becomes a space, except that the first token loses it (where one was prepended).
class DecodeMetaspace : public DecodeStep {
 public:
  DecodeMetaspace(std::string mark, bool drops_first, bool is_fused, DecodeStep* next)
      : DecodeStep(next), mark_(std::move(mark)), drops_(drops_first), is_fused_(is_fused) {}
  void push(std::string_view text) override;

 private:
  std::string mark_;
  bool drops_;
  bool is_fused_;
};

/// Replaces a pattern in each token.
Decoder::MakeStep make_replace_step(Pattern pattern, std::string content, bool is_fused);

}  // namespace iol
