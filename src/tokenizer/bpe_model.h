#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/bpe_merges.h"
#include "tokenizer/vocabulary.h"

namespace iol {

/// What the "model" object of a tokenizer.json declares beside vocabulary and merges.
struct BpeOptions {
  std::optional<std::string> unk_token;
  std::string continuing_subword_prefix;  // before every character of a word but the first
  std::string end_of_word_suffix;         // behind the last character of a word
  bool fuse_unk = false;                  // a run of unknown characters is one unk_token
  bool byte_fallback = false;             // unknown characters are spelled "<0x..>"
  bool ignore_merges = false;             // a word that is a token is that token
};

/// What the characters of a word are.
enum class WordUnits : std::uint8_t {
  kCharacters,
  kBytes,  // each byte stands for its character of the byte alphabet
};

/// Byte-pair encoding with a fixed vocabulary. Immutable once built; thread-safe.
class BpeModel {
 public:
  BpeModel(Vocabulary vocabulary, BpeOptions options);

  /// Declares that `left` and `right` merge into their concatenation (less the continuing prefix of
  /// `right`), with the next rank. Returns the string that is no token, or nothing when all is
  /// well.
  std::optional<std::string> add_merge(std::string_view left, std::string_view right);
  void reserve_merges(std::size_t num_merges) { merges_.reserve(num_merges); }

  /// Working memory of one thread.
  struct Scratch {
    std::vector<std::int32_t> symbols;
    std::string spelling;
    MergeScratch merging;
  };
  /// Appends the ids of a non-empty word.
  void encode_word(std::string_view word, WordUnits units, Scratch& scratch,
                   std::vector<std::int32_t>& ids) const;

  /// Bytes at the start of `word` (kCharacters) whose ids don't depend on the rest: the word may be
  /// cut there. The whole word where nothing is known. This makes one giant word, as Llama 2's form
  /// gives, as cheap as many small ones.
  [[nodiscard]] std::size_t independent_prefix(std::string_view word) const;

  [[nodiscard]] const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  class SymbolWriter;
  void write_symbols(std::string_view word, WordUnits units, Scratch& scratch) const;

  Vocabulary vocabulary_;
  BpeOptions options_;
  MergeTable merges_;
  std::uint32_t num_merges_ = 0;
  std::optional<std::int32_t> unk_id_;
  std::array<std::int32_t, 256> byte_tokens_;      // "<0x..>"; -1: none
  std::array<std::int32_t, 256> alphabet_tokens_;  // the byte's character alone; -1: none
  bool cuts_at_space_marks_;                       // no token has U+2581 after another character
};

}  // namespace iol
