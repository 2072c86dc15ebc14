#pragma once
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "tokenizer/bpe_model.h"
#include "tokenizer/json_node.h"

namespace iol {

/// A part of the text on its way to the model.
struct Piece {
  std::string_view text;
  bool is_first;  // starts where the whole text starts
};

using PieceSink = std::function<void(Piece)>;

/// One step of cutting text into words. Immutable.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Calls `sink` with the non-empty parts of a non-empty piece, in order. They are valid during
  /// the call only: a step may rewrite the text.
  virtual void split(Piece piece, const PieceSink& sink) const = 0;
};

/// The "pre_tokenizer" of a tokenizer.json: its steps in order, and what the words then are made
/// of.
class PreTokenization {
 public:
  /// No pre-tokenizer: the text is one word.
  PreTokenization() = default;
  /// Throws InputError naming the field for anything not supported.
  explicit PreTokenization(const JsonNode& node);

  void split(Piece piece, const PieceSink& sink) const { split_from(0, piece, sink); }
  [[nodiscard]] WordUnits word_units() const { return word_units_; }

 private:
  void add(const JsonNode& node, int depth);
  void add_byte_level(const JsonNode& node);
  void split_from(std::size_t step, Piece piece, const PieceSink& sink) const;

  std::vector<std::unique_ptr<const PreTokenizer>> steps_;
  WordUnits word_units_ = WordUnits::kCharacters;
};

}  // namespace iol
