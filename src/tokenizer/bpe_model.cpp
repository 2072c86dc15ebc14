#include "tokenizer/bpe_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/utf8.h"

namespace iol {
namespace {

constexpr std::string_view kSpaceMark = "\xe2\x96\x81";  // U+2581

/// Offset of the first space mark that follows another character; npos when there is none.
std::size_t find_inner_space_mark(std::string_view text) {
  std::size_t from = 0;
  while (text.substr(from).starts_with(kSpaceMark)) from += kSpaceMark.size();
  return text.find(kSpaceMark, from);
}

}  // namespace

/// Turns the characters of one word into the first symbols. The order of its effects is that of
/// the `tokenizers` package, which keeps an unknown character back until the next known one.
class BpeModel::SymbolWriter {
 public:
  SymbolWriter(const BpeModel& model, std::vector<std::int32_t>& symbols)
      : model_(model), symbols_(symbols) {}

  void write(std::optional<std::int32_t> token, std::string_view spelling) {
    if (token) {
      flush();
      symbols_.push_back(*token);
    } else if (!write_bytes(spelling) && model_.unk_id_) {
      if (unknown_ && !model_.options_.fuse_unk) flush();
      unknown_ = true;
    }
  }

  void flush() {
    if (unknown_) symbols_.push_back(*model_.unk_id_);
    unknown_ = false;
  }

 private:
  bool write_bytes(std::string_view spelling) {
    if (!model_.options_.byte_fallback) return false;
    const auto token = [&](char byte) {
      return model_.byte_tokens_[static_cast<unsigned char>(byte)];
    };
    for (const char byte : spelling) {
      if (token(byte) < 0) return false;
    }
    for (const char byte : spelling) symbols_.push_back(token(byte));
    return true;
  }

  const BpeModel& model_;
  std::vector<std::int32_t>& symbols_;
  bool unknown_ = false;
};

BpeModel::BpeModel(Vocabulary vocabulary, BpeOptions options)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)) {
  for (std::size_t byte = 0; byte < 256; ++byte) {
    byte_tokens_[byte] = vocabulary_.find(fmt::format("<0x{:02X}>", byte)).value_or(-1);
    alphabet_tokens_[byte] = vocabulary_.find(to_utf8(kByteToCharacter[byte])).value_or(-1);
  }
  if (options_.unk_token) unk_id_ = vocabulary_.find(*options_.unk_token);
  cuts_at_space_marks_ = !options_.ignore_merges && options_.continuing_subword_prefix.empty() &&
                         options_.end_of_word_suffix.empty() &&
                         vocabulary_.find(kSpaceMark).has_value();
}

std::optional<std::string> BpeModel::add_merge(std::string_view left, std::string_view right) {
  const auto left_id = vocabulary_.find(left);
  if (!left_id) return std::string(left);
  const auto right_id = vocabulary_.find(right);
  if (!right_id) return std::string(right);
  std::string product(left);
  product += right.substr(std::min(right.size(), options_.continuing_subword_prefix.size()));
  const auto product_id = vocabulary_.find(product);
  if (!product_id) return product;
  merges_.add(*left_id, *right_id, {num_merges_++, *product_id});
  if (find_inner_space_mark(product) != std::string_view::npos) cuts_at_space_marks_ = false;
  return std::nullopt;
}

void BpeModel::encode_word(std::string_view word, WordUnits units, Scratch& scratch,
                           std::vector<std::int32_t>& ids) const {
  if (options_.ignore_merges) {
    const auto whole =
        units == WordUnits::kBytes ? vocabulary_.find(spell_bytes(word)) : vocabulary_.find(word);
    if (whole) {
      ids.push_back(*whole);
      return;
    }
  }
  write_symbols(word, units, scratch);
  apply_merges(merges_, scratch.symbols, scratch.merging);
  ids.insert(ids.end(), scratch.symbols.begin(), scratch.symbols.end());
}

void BpeModel::write_symbols(std::string_view word, WordUnits units, Scratch& scratch) const {
  scratch.symbols.clear();
  SymbolWriter writer(*this, scratch.symbols);
  const bool is_affixed =
      !options_.continuing_subword_prefix.empty() || !options_.end_of_word_suffix.empty();
  auto& spelling = scratch.spelling;
  for (std::size_t begin = 0; begin < word.size();) {
    const auto byte = static_cast<unsigned char>(word[begin]);
    const std::size_t end = begin + (units == WordUnits::kBytes ? 1 : utf8_length(word[begin]));
    if (units == WordUnits::kBytes && !is_affixed && alphabet_tokens_[byte] >= 0) {
      writer.write(alphabet_tokens_[byte], {});
    } else {
      spelling.clear();
      if (begin > 0) spelling += options_.continuing_subword_prefix;
      if (units == WordUnits::kBytes) {
        append_utf8(kByteToCharacter[byte], spelling);
      } else {
        spelling += word.substr(begin, end - begin);
      }
      if (end == word.size()) spelling += options_.end_of_word_suffix;
      writer.write(vocabulary_.find(spelling), spelling);
    }
    begin = end;
  }
  writer.flush();
}

std::size_t BpeModel::independent_prefix(std::string_view word) const {
  if (!cuts_at_space_marks_) return word.size();
  return std::min(find_inner_space_mark(word), word.size());
}

}  // namespace iol
