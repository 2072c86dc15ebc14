#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace iol {

/// The decoding of one id sequence, one id at a time. Not thread-safe; use through StreamDecoder.
class DecodeStream {
 public:
  virtual ~DecodeStream() = default;
  /// Appends to `text` what this id makes final. Only whole UTF-8 characters.
  virtual void push(std::int32_t id, std::string& text) = 0;
  /// Appends what was still held back. The stream is spent afterwards.
  virtual void finish(std::string& text) = 0;
};

/// Text to token ids and back, as the model's own files declare it.
///
/// A `tokenizer.json` is followed step by step (added tokens, normalizer, pre-tokenizer, BPE model,
/// post-processor, decoder) and gives the ids of the `tokenizers` package; a `tokenizer.model` goes
/// through libsentencepiece. Whatever a file declares that this class can't do is refused at load.
///
/// Threading: immutable after load; every member may be called from any thread at once.
class Tokenizer {
 public:
  /// Reads `folder`/tokenizer.json, else `folder`/tokenizer.model. Throws InputError naming the
  /// file and the field when neither is there, or when the one found is broken or unsupported.
  static std::unique_ptr<Tokenizer> load(const std::filesystem::path& folder);
  /// `json` is the content of a tokenizer.json; `origin` names it in errors.
  static std::unique_ptr<Tokenizer> from_json(std::string_view json, std::string_view origin);

  virtual ~Tokenizer() = default;

  /// Ids of `text` (UTF-8, NUL allowed). Added tokens written out in the text ("<|eot_id|>") become
  /// their ids. `add_special_tokens` adds what the file declares around a text, such as a leading
  /// beginning-of-sequence token. Throws InputError giving the byte offset of invalid UTF-8.
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text,
                                                 bool add_special_tokens = true) const;
  /// Text of `ids`. Ids without a token (the padding rows of an embedding table) give no text.
  /// Special tokens are left out by default, also where their "normalized" flag makes the reference
  /// package show them.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids,
                                   bool skip_special_tokens = true) const;
  /// What decode() is made of, for text that arrives id by id.
  [[nodiscard]] virtual std::unique_ptr<DecodeStream> start_decoding(
      bool skip_special_tokens = true) const = 0;

  /// Largest id plus one; ids below it may be unused.
  [[nodiscard]] virtual int vocab_size() const = 0;
  /// The id of a token as the file spells it ("Ġthe", "▁the", "<0x0A>").
  [[nodiscard]] virtual std::optional<std::int32_t> token_id(std::string_view token) const = 0;
  /// The token as the file spells it. Throws InputError when no token has this id.
  [[nodiscard]] std::string token(std::int32_t id) const;
  /// True for control tokens: those that decode() leaves out by default.
  [[nodiscard]] virtual bool is_special(std::int32_t id) const = 0;
  /// In ascending order.
  [[nodiscard]] std::vector<std::int32_t> special_token_ids() const;

 protected:
  [[nodiscard]] virtual std::vector<std::int32_t> encode_valid(std::string_view text,
                                                               bool add_special_tokens) const = 0;
  [[nodiscard]] virtual std::optional<std::string> find_token(std::int32_t id) const = 0;
};

}  // namespace iol
