#include "tokenizer/decode_steps.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "tokenizer/byte_alphabet.h"

namespace iol {
namespace {

/// The byte that a token such as "<0x0A>" stands for.
std::optional<char> fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) return std::nullopt;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, value, 16);
  if (error != std::errc() || end != token.data() + 5) return std::nullopt;
  return static_cast<char>(value);
}

/// Strips separate tokens.
class StripTokens : public DecodeStep {
 public:
  StripTokens(StripOptions options, DecodeStep* next)
      : DecodeStep(next), options_(std::move(options)) {}

  void push(std::string_view token) override {
    const auto& content = options_.content;
    // Both ends look at the token as it came: what one takes, the other may take too.
    std::string_view left = token;
    for (std::size_t i = 0; i < options_.start && left.starts_with(content); ++i) {
      left.remove_prefix(content.size());
    }
    std::string_view right = token;
    for (std::size_t i = 0; i < options_.stop && right.ends_with(content); ++i) {
      right.remove_suffix(content.size());
    }
    const std::size_t cut = token.size() - left.size();
    next().push(right.substr(std::min(cut, right.size())));
  }

 private:
  StripOptions options_;
};

/// Strips the single token whose parts arrive one by one.
class StripFused : public DecodeStep {
 public:
  StripFused(StripOptions options, DecodeStep* next)
      : DecodeStep(next), options_(std::move(options)) {}

  void push(std::string_view part) override {
    const auto& content = options_.content;
    while (num_stripped_ < options_.start && part.starts_with(content)) {
      part.remove_prefix(content.size());
      ++num_stripped_;
    }
    if (part.empty()) return;
    num_stripped_ = options_.start;  // the start is over
    std::string_view body = part;
    std::size_t num_last = 0;
    for (; num_last < options_.stop && body.ends_with(content); ++num_last) {
      body.remove_suffix(content.size());
    }
    if (!body.empty()) {
      release(num_held_);
      next().push(body);
    }
    num_held_ += num_last;
    if (num_held_ > options_.stop) release(num_held_ - options_.stop);
  }

 private:
  void release(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) next().push(options_.content);
    num_held_ -= count;
  }

  StripOptions options_;
  std::size_t num_stripped_ = 0;
  std::size_t num_held_ = 0;  // of the character, at the end so far
};

class ReplaceInTokens : public DecodeStep {
 public:
  ReplaceInTokens(Pattern pattern, std::string content, DecodeStep* next)
      : DecodeStep(next), pattern_(std::move(pattern)), content_(std::move(content)) {}
  void push(std::string_view token) override { next().push(pattern_.replace(token, content_)); }

 private:
  Pattern pattern_;
  std::string content_;
};

/// Replaces in the single token whose parts arrive one by one. An end that may be the start of a
/// match is held back; a regular expression may look at everything, so all is held back then.
class ReplaceInFused : public DecodeStep {
 public:
  ReplaceInFused(Pattern pattern, std::string content, DecodeStep* next)
      : DecodeStep(next), pattern_(std::move(pattern)), content_(std::move(content)) {}

  void push(std::string_view part) override {
    held_ += part;
    const std::string* literal = pattern_.literal();
    if (literal == nullptr) return;
    std::size_t done = 0;
    for (std::size_t at = 0; (at = held_.find(*literal, done)) != std::string::npos;) {
      hand_on(done, at);
      next().push(content_);
      done = at + literal->size();
    }
    std::size_t tail = std::max(done, held_.size() - std::min(held_.size(), literal->size() - 1));
    while (!literal->starts_with(std::string_view(held_).substr(tail))) ++tail;
    hand_on(done, tail);
    held_.erase(0, tail);
  }

  void finish() override {
    if (pattern_.literal() == nullptr) held_ = pattern_.replace(held_, content_);
    hand_on(0, held_.size());
    DecodeStep::finish();
  }

 private:
  void hand_on(std::size_t begin, std::size_t end) {
    if (begin < end) next().push(std::string_view(held_).substr(begin, end - begin));
  }

  Pattern pattern_;
  std::string content_;
  std::string held_;
};

}  // namespace

void JoinWithSpaces::push(std::string_view token) {
  if (!is_first_) next().push(" ");
  is_first_ = false;
  next().push(token);
}

void DecodeByteLevel::push(std::string_view token) {
  const auto bytes = spelled_bytes(token);
  std::string text;
  repair_.push(bytes ? std::string_view(*bytes) : token, text);
  if (!text.empty()) next().push(text);
}

void DecodeByteLevel::finish() {
  std::string text;
  repair_.finish(text);
  if (!text.empty()) next().push(text);
  DecodeStep::finish();
}

void DecodeByteFallback::push(std::string_view token) {
  if (const auto byte = fallback_byte(token)) {
    bytes_.push_back(*byte);
    return;
  }
  flush();
  next().push(token);
}

void DecodeByteFallback::finish() {
  flush();
  DecodeStep::finish();
}

void DecodeByteFallback::flush() {
  if (bytes_.empty()) return;
  const std::string bytes = std::exchange(bytes_, {});
  if (!find_invalid_utf8(bytes)) return next().push(bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) next().push(kReplacementCharacter);
}

void DecodeMetaspace::push(std::string_view text) {
  std::string decoded;
  for (std::size_t at = 0; !text.empty(); text.remove_prefix(std::min(at, text.size()))) {
    if (text.starts_with(mark_)) {
      if (!drops_) decoded.push_back(' ');
      at = mark_.size();
    } else {
      at = std::min(text.find(mark_), text.size());
      decoded += text.substr(0, at);
    }
  }
  if (!is_fused_) drops_ = false;
  next().push(decoded);
}

Decoder::MakeStep make_strip_step(StripOptions options, bool is_fused) {
  return [=](DecodeStep* next) -> std::unique_ptr<DecodeStep> {
    if (is_fused) return std::make_unique<StripFused>(options, next);
    return std::make_unique<StripTokens>(options, next);
  };
}

Decoder::MakeStep make_replace_step(Pattern pattern, std::string content, bool is_fused) {
  return [=](DecodeStep* next) -> std::unique_ptr<DecodeStep> {
    if (is_fused) return std::make_unique<ReplaceInFused>(pattern, content, next);
    return std::make_unique<ReplaceInTokens>(pattern, content, next);
  };
}

}  // namespace iol
