#include "tokenizer/sentencepiece_tokenizer.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <exception>

#include "base/error.h"
#include "base/mapped_file.h"
#include "tokenizer/json_node.h"
#include "tokenizer/utf8.h"

namespace iol {
namespace {

constexpr std::string_view kSpaceMark = "\xe2\x96\x81";  // U+2581

/// What becomes of the space marks at the start of a decoded text.
enum class LeadingMarks { kKept, kFirstDropped, kAllDropped };

/// A byte as a piece: "<0x0A>".
char byte_of_piece(std::string_view piece) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  return static_cast<char>(digit(piece[3]) * 16 + digit(piece[4]));
}

/// What the library's own decoding does, in a form that works id by id.
class SentencePieceStream : public DecodeStream {
 public:
  SentencePieceStream(const sentencepiece::SentencePieceProcessor& processor,
                      LeadingMarks leading_marks, std::string_view unknown_text,
                      bool skip_special_tokens)
      : processor_(processor),
        leading_marks_(leading_marks),
        unknown_text_(unknown_text),
        skip_special_tokens_(skip_special_tokens) {}

  void push(std::int32_t id, std::string& text) override {
    if (id < 0 || id >= processor_.GetPieceSize()) return;
    const std::size_t size_before = text.size();
    if (processor_.IsByte(id)) {
      bytes_.push_back(byte_of_piece(processor_.IdToPiece(id)));
      write_characters(text);
    } else {
      finish(text);
      has_text_ |= text.size() > size_before;
      write_piece(id, text);
    }
    has_text_ |= text.size() > size_before;
  }

  void finish(std::string& text) override {
    for (std::size_t i = 0; i < bytes_.size(); ++i) text += kReplacementCharacter;
    bytes_.clear();
  }

 private:
  /// The characters that the bytes so far complete; a byte that is part of none is one U+FFFD.
  void write_characters(std::string& text) {
    while (!bytes_.empty()) {
      const Utf8Scan scan = scan_utf8(bytes_);
      if (scan.form == Utf8Form::kUnfinished) return;
      const std::size_t length = scan.form == Utf8Form::kValid ? scan.length : 1;
      text += scan.form == Utf8Form::kValid ? std::string_view(bytes_).substr(0, length)
                                            : kReplacementCharacter;
      bytes_.erase(0, length);
    }
  }

  void write_piece(std::int32_t id, std::string& text) {
    const bool is_at_start = !has_text_ && !dropped_mark_;
    dropped_mark_ = false;
    std::string_view piece = processor_.IdToPiece(id);
    if (processor_.IsControl(id)) {
      if (!skip_special_tokens_) text += piece;
      dropped_mark_ = !is_at_start;
      return;
    }
    if (processor_.IsUnknown(id)) {
      text += unknown_text_;
      return;
    }
    if (is_at_start && leading_marks_ != LeadingMarks::kKept && piece.starts_with(kSpaceMark)) {
      piece.remove_prefix(kSpaceMark.size());
      dropped_mark_ = leading_marks_ == LeadingMarks::kFirstDropped;
    }
    dropped_mark_ |= !is_at_start;
    while (!piece.empty()) {
      if (piece.starts_with(kSpaceMark)) {
        text.push_back(' ');
        piece.remove_prefix(kSpaceMark.size());
      } else {
        const std::size_t length = std::min(piece.find(kSpaceMark), piece.size());
        text += piece.substr(0, length);
        piece.remove_prefix(length);
      }
    }
  }

  const sentencepiece::SentencePieceProcessor& processor_;
  LeadingMarks leading_marks_;
  std::string_view unknown_text_;
  bool skip_special_tokens_;
  std::string bytes_;          // of byte pieces, not yet a character
  bool has_text_ = false;      // something has been written
  bool dropped_mark_ = false;  // the start of the text is over although nothing has been written
};

struct SpecialTokens {
  bool adds_bos = true;
  bool adds_eos = false;
};

/// What tokenizer_config.json says beside the model, when there is one.
SpecialTokens read_special_tokens(const std::filesystem::path& config_path) {
  SpecialTokens special;
  if (!std::filesystem::exists(config_path)) return special;
  const MappedFile file(config_path);
  const auto bytes = file.bytes();
  simdjson::dom::parser parser;
  const std::string origin = config_path.string();
  const auto root =
      parse_json(parser, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, origin);
  const JsonNode node(root, origin, "");
  special.adds_bos = node.bool_or("add_bos_token", special.adds_bos);
  special.adds_eos = node.bool_or("add_eos_token", special.adds_eos);
  return special;
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(std::string_view model, const std::string& origin, SpecialTokens special)
      : special_(special) {
    const auto status = processor_.LoadFromSerializedProto(model);
    if (!status.ok() || processor_.GetPieceSize() == 0) {
      throw_input_error("{}: not a SentencePiece model: {}; download it again", origin,
                        in_quotes(status.error_message()));
    }
    // The model's own settings aren't readable through the library, but what they do is.
    const int mark = processor_.PieceToId(std::string(kSpaceMark));
    if (!processor_.IsUnknown(mark)) {
      const std::string decoded = processor_.DecodeIds({mark, mark});
      leading_marks_ = decoded.empty()  ? LeadingMarks::kAllDropped
                       : decoded == " " ? LeadingMarks::kFirstDropped
                                        : LeadingMarks::kKept;
    }
    unknown_text_ = processor_.DecodeIds({processor_.unk_id()});
  }

  [[nodiscard]] std::unique_ptr<DecodeStream> start_decoding(
      bool skip_special_tokens) const override {
    return std::make_unique<SentencePieceStream>(processor_, leading_marks_, unknown_text_,
                                                 skip_special_tokens);
  }

  [[nodiscard]] int vocab_size() const override { return processor_.GetPieceSize(); }

  [[nodiscard]] std::optional<std::int32_t> token_id(std::string_view token) const override {
    const int id = processor_.PieceToId(token);
    return processor_.IdToPiece(id) == token ? std::optional(id) : std::nullopt;
  }

  [[nodiscard]] bool is_special(std::int32_t id) const override {
    return id >= 0 && id < processor_.GetPieceSize() && processor_.IsControl(id);
  }

 protected:
  [[nodiscard]] std::vector<std::int32_t> encode_valid(std::string_view text,
                                                       bool add_special_tokens) const override {
    std::vector<int> pieces;
    const auto status = processor_.Encode(text, &pieces);
    if (!status.ok()) {
      throw_input_error("libsentencepiece cannot encode the text: {}",
                        in_quotes(status.error_message()));
    }
    std::vector<std::int32_t> ids;
    const bool adds_bos = add_special_tokens && special_.adds_bos && processor_.bos_id() >= 0;
    const bool adds_eos = add_special_tokens && special_.adds_eos && processor_.eos_id() >= 0;
    if (adds_bos) ids.push_back(processor_.bos_id());
    ids.insert(ids.end(), pieces.begin(), pieces.end());
    if (adds_eos) ids.push_back(processor_.eos_id());
    return ids;
  }

  [[nodiscard]] std::optional<std::string> find_token(std::int32_t id) const override {
    if (id < 0 || id >= processor_.GetPieceSize()) return std::nullopt;
    return processor_.IdToPiece(id);
  }

 private:
  sentencepiece::SentencePieceProcessor processor_;
  SpecialTokens special_;
  LeadingMarks leading_marks_ = LeadingMarks::kKept;
  std::string unknown_text_;
};

}  // namespace

std::unique_ptr<Tokenizer> load_sentencepiece_tokenizer(const std::filesystem::path& model_path) {
  const MappedFile file(model_path);
  const auto bytes = file.bytes();
  return std::make_unique<SentencePieceTokenizer>(
      std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
      model_path.string(), read_special_tokens(model_path.parent_path() / "tokenizer_config.json"));
}

}  // namespace iol
