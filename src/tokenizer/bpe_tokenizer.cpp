#include "tokenizer/bpe_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "tokenizer/word_cache.h"

namespace iol {
namespace {

/// Where the steps of a decoding leave their text.
class TextEnd : public DecodeStep {
 public:
  TextEnd() : DecodeStep(nullptr) {}
  void push(std::string_view text) override { text_->append(text); }
  void finish() override {}
  void set_text(std::string& text) { text_ = &text; }

 private:
  std::string* text_ = nullptr;
};

class BpeDecodeStream : public DecodeStream {
 public:
  BpeDecodeStream(const BpeTokenizer& tokenizer, const Decoder& decoder, bool skip_special_tokens)
      : tokenizer_(tokenizer),
        skip_special_tokens_(skip_special_tokens),
        steps_(decoder.start(&end_)),
        first_(steps_.empty() ? static_cast<DecodeStep*>(&end_) : steps_.front().get()) {}

  void push(std::int32_t id, std::string& text) override {
    const auto token = tokenizer_.text_to_decode(id);
    if (!token || (skip_special_tokens_ && tokenizer_.is_special(id))) return;
    end_.set_text(text);
    first_->push(*token);
  }

  void finish(std::string& text) override {
    end_.set_text(text);
    first_->finish();
  }

 private:
  const BpeTokenizer& tokenizer_;
  bool skip_special_tokens_;
  TextEnd end_;
  std::vector<std::unique_ptr<DecodeStep>> steps_;
  DecodeStep* first_;
};

}  // namespace

/// One text on its way to ids.
class BpeTokenizer::Encoding {
 public:
  explicit Encoding(const BpeTokenizer& tokenizer)
      : tokenizer_(tokenizer),
        parts_(tokenizer.parts_),
        units_(parts_.pre_tokenization.word_units()),
        word_sink_([this](Piece word) { add_word(word.text); }) {}

  std::vector<std::int32_t> run(std::string_view text) && {
    ids_.reserve(text.size() / 3);
    tokenizer_.raw_matcher_.split(
        text,
        [&](std::string_view part) {
          add_raw({part, part.data() == text.data()});
        },
        [&](std::int32_t id) { ids_.push_back(id); });
    return std::move(ids_);
  }

 private:
  void add_raw(Piece piece) {
    if (parts_.normalizer == nullptr) return add_normalized(piece);
    std::string text(piece.text);
    parts_.normalizer->normalize(text);
    add_normalized({text, piece.is_first});
  }

  void add_normalized(Piece piece) {
    tokenizer_.normalized_matcher_.split(
        piece.text,
        [&](std::string_view part) {
          const bool is_first = piece.is_first && part.data() == piece.text.data();
          parts_.pre_tokenization.split({part, is_first}, word_sink_);
        },
        [&](std::int32_t id) { ids_.push_back(id); });
  }

  void add_word(std::string_view word) {
    if (units_ == WordUnits::kBytes) return add_independent(word);
    while (!word.empty()) {
      const std::size_t length = parts_.model->independent_prefix(word);
      add_independent(word.substr(0, length));
      word.remove_prefix(length);
    }
  }

  void add_independent(std::string_view word) {
    const bool is_kept = word.size() <= WordCache::kMaxWordBytes;
    if (is_kept) {
      if (const auto known = cache_.find(word)) {
        ids_.insert(ids_.end(), known->begin(), known->end());
        return;
      }
    }
    const std::size_t begin = ids_.size();
    parts_.model->encode_word(word, units_, scratch_, ids_);
    if (is_kept) cache_.insert(word, std::span(ids_).subspan(begin));
  }

  const BpeTokenizer& tokenizer_;
  const BpeTokenizerParts& parts_;
  WordUnits units_;
  PieceSink word_sink_;
  WordCache cache_;
  BpeModel::Scratch scratch_;
  std::vector<std::int32_t> ids_;
};

BpeTokenizer::BpeTokenizer(BpeTokenizerParts parts) : parts_(std::move(parts)) {
  std::vector<AddedToken> raw;
  std::vector<AddedToken> normalized;
  std::vector<std::string> raw_contents;
  std::vector<std::string> normalized_contents;
  vocab_size_ = parts_.model->vocabulary().size();
  for (const AddedToken& token : parts_.added_tokens) {
    IOL_CHECK(added_vocabulary_.add(token.content, token.id) == Vocabulary::AddResult::kAdded);
    vocab_size_ = std::max(vocab_size_, token.id + 1);
    std::string content = token.content;
    if (token.is_normalized && parts_.normalizer != nullptr) {
      parts_.normalizer->normalize(content);
      if (content != token.content) rewritten_.emplace(token.id, content);
    }
    (token.is_normalized ? normalized : raw).push_back(token);
    (token.is_normalized ? normalized_contents : raw_contents).push_back(std::move(content));
  }
  is_special_.resize(static_cast<std::size_t>(vocab_size_));
  for (const AddedToken& token : parts_.added_tokens) {
    is_special_[static_cast<std::size_t>(token.id)] = token.is_special;
  }
  raw_matcher_ = AddedTokenMatcher(std::move(raw), std::move(raw_contents));
  normalized_matcher_ = AddedTokenMatcher(std::move(normalized), std::move(normalized_contents));
}

std::unique_ptr<DecodeStream> BpeTokenizer::start_decoding(bool skip_special_tokens) const {
  return std::make_unique<BpeDecodeStream>(*this, parts_.decoder, skip_special_tokens);
}

std::optional<std::int32_t> BpeTokenizer::token_id(std::string_view token) const {
  if (const auto id = added_vocabulary_.find(token)) return id;
  return parts_.model->vocabulary().find(token);
}

bool BpeTokenizer::is_special(std::int32_t id) const {
  return id >= 0 && id < vocab_size_ && is_special_[static_cast<std::size_t>(id)];
}

std::optional<std::string_view> BpeTokenizer::text_to_decode(std::int32_t id) const {
  if (const auto token = added_vocabulary_.token(id)) {
    const auto rewritten = rewritten_.find(id);
    return rewritten == rewritten_.end() ? *token : std::string_view(rewritten->second);
  }
  return parts_.model->vocabulary().token(id);
}

std::vector<std::int32_t> BpeTokenizer::encode_valid(std::string_view text,
                                                     bool add_special_tokens) const {
  auto ids = Encoding(*this).run(text);
  return add_special_tokens ? parts_.post_processor.add_special_tokens(std::move(ids)) : ids;
}

std::optional<std::string> BpeTokenizer::find_token(std::int32_t id) const {
  auto token = added_vocabulary_.token(id);
  if (!token) token = parts_.model->vocabulary().token(id);
  return token ? std::optional<std::string>(*token) : std::nullopt;
}

}  // namespace iol
