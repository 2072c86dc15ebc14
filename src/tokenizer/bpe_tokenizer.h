#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe_model.h"
#include "tokenizer/decoder.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/post_processor.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/tokenizer.h"

namespace iol {

/// The parts that a tokenizer.json declares, in the order in which a text passes them.
struct BpeTokenizerParts {
  std::vector<AddedToken> added_tokens;
  std::unique_ptr<const Normalizer> normalizer;  // null: none
  PreTokenization pre_tokenization;
  std::unique_ptr<const BpeModel> model;
  PostProcessor post_processor;
  Decoder decoder;
};

/// A tokenizer.json with a BPE model.
class BpeTokenizer : public Tokenizer {
 public:
  /// Every added token has an id that is its own in the model's vocabulary, or that is free there.
  explicit BpeTokenizer(BpeTokenizerParts parts);

  [[nodiscard]] std::unique_ptr<DecodeStream> start_decoding(
      bool skip_special_tokens) const override;
  [[nodiscard]] int vocab_size() const override { return vocab_size_; }
  [[nodiscard]] std::optional<std::int32_t> token_id(std::string_view token) const override;
  [[nodiscard]] bool is_special(std::int32_t id) const override;

  /// What decoding starts from: the token, or for an added token that is sought in normalized text
  /// its normalized form. Nothing when no token has this id. Valid as long as the tokenizer.
  [[nodiscard]] std::optional<std::string_view> text_to_decode(std::int32_t id) const;

 protected:
  [[nodiscard]] std::vector<std::int32_t> encode_valid(std::string_view text,
                                                       bool add_special_tokens) const override;
  [[nodiscard]] std::optional<std::string> find_token(std::int32_t id) const override;

 private:
  class Encoding;

  BpeTokenizerParts parts_;
  Vocabulary added_vocabulary_;                              // the added tokens
  std::unordered_map<std::int32_t, std::string> rewritten_;  // [id] where normalization changes it
  std::vector<bool> is_special_;                             // [id]
  int vocab_size_ = 0;
  AddedTokenMatcher raw_matcher_;         // tokens sought before normalization
  AddedTokenMatcher normalized_matcher_;  // and behind it
};

/// Throws InputError naming `origin` and the field for anything broken or unsupported.
std::unique_ptr<Tokenizer> parse_bpe_tokenizer(std::string_view json, std::string_view origin);

}  // namespace iol
