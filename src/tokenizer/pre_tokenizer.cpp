#include "tokenizer/pre_tokenizer.h"

#include <fmt/format.h>

#include <optional>
#include <string>

#include "tokenizer/json_parts.h"
#include "tokenizer/pattern.h"
#include "tokenizer/prepend_scheme.h"
#include "tokenizer/split_behavior.h"
#include "tokenizer/split_rules.h"
#include "tokenizer/unicode.h"
#include "tokenizer/utf8.h"

namespace iol {
namespace {

void emit_parts(Piece piece, SplitBehavior behavior, const std::vector<Span>& spans,
                const PieceSink& sink) {
  for (const Span& part : apply_behavior(behavior, spans)) {
    if (part.begin == part.end) continue;
    sink({piece.text.substr(part.begin, part.end - part.begin), piece.is_first && part.begin == 0});
  }
}

/// Splits where a pattern matches.
class PatternSplit : public PreTokenizer {
 public:
  PatternSplit(Pattern pattern, SplitBehavior behavior, bool is_inverted)
      : pattern_(std::move(pattern)), behavior_(behavior), is_inverted_(is_inverted) {}

  void split(Piece piece, const PieceSink& sink) const override {
    auto spans = pattern_.partition(piece.text);
    if (is_inverted_) {
      for (Span& span : spans) span.is_match = !span.is_match;
    }
    emit_parts(piece, behavior_, spans, sink);
  }

 private:
  Pattern pattern_;
  SplitBehavior behavior_;
  bool is_inverted_;
};

/// One of the well-known patterns, each match a part.
class RuleSplit : public PreTokenizer {
 public:
  explicit RuleSplit(SplitRule rule) : rule_(rule) {}

  void split(Piece piece, const PieceSink& sink) const override {
    split_by_rule(rule_, piece.text, [&](std::string_view word) {
      sink({word, piece.is_first && word.data() == piece.text.data()});
    });
  }

 private:
  SplitRule rule_;
};

/// Puts a space in front of a text that has none.
class PrefixSpace : public PreTokenizer {
 public:
  void split(Piece piece, const PieceSink& sink) const override {
    if (piece.text.starts_with(' ')) return sink(piece);
    const std::string text = " " + std::string(piece.text);
    sink({text, piece.is_first});
  }
};

/// Spaces become a visible mark, U+2581, and words start at it.
class Metaspace : public PreTokenizer {
 public:
  Metaspace(std::string_view mark, PrependScheme scheme, bool splits)
      : mark_(mark), scheme_(scheme), splits_(splits) {}

  void split(Piece piece, const PieceSink& sink) const override {
    std::string text;
    text.reserve(piece.text.size() + piece.text.size() / 2);
    const bool starts_with_mark = piece.text.starts_with(' ') || piece.text.starts_with(mark_);
    const bool prepends =
        scheme_ == PrependScheme::kAlways || (scheme_ == PrependScheme::kFirst && piece.is_first);
    if (prepends && !starts_with_mark) text = mark_;
    for (const char byte : piece.text) {
      if (byte == ' ') {
        text += mark_;
      } else {
        text.push_back(byte);
      }
    }
    if (!splits_) return sink({text, piece.is_first});
    const std::string_view rest(text);
    for (std::size_t begin = 0; begin < rest.size();) {
      const std::size_t end = std::min(rest.find(mark_, begin + 1), rest.size());
      sink({rest.substr(begin, end - begin), piece.is_first && begin == 0});
      begin = end;
    }
  }

 private:
  std::string mark_;
  PrependScheme scheme_;
  bool splits_;
};

/// Cuts between characters by a property: each character with it is a match.
class CharacterSplit : public PreTokenizer {
 public:
  CharacterSplit(bool (*matches)(char32_t), SplitBehavior behavior)
      : matches_(matches), behavior_(behavior) {}

  void split(Piece piece, const PieceSink& sink) const override {
    std::vector<Span> spans;
    for (std::size_t offset = 0; offset < piece.text.size();) {
      const std::size_t begin = offset;
      const bool is_match = matches_(next_code_point(piece.text, offset));
      if (!is_match && !spans.empty() && !spans.back().is_match) {
        spans.back().end = offset;
      } else {
        spans.push_back({begin, offset, is_match});
      }
    }
    emit_parts(piece, behavior_, spans, sink);
  }

 private:
  bool (*matches_)(char32_t);
  SplitBehavior behavior_;
};

/// Runs of word characters, and runs of what is neither word character nor whitespace.
class WhitespaceSplit : public PreTokenizer {
 public:
  void split(Piece piece, const PieceSink& sink) const override {
    enum class Kind { kSpace, kWord, kOther };
    const auto kind_of = [](char32_t c) {
      return is_word(c) ? Kind::kWord : is_whitespace(c) ? Kind::kSpace : Kind::kOther;
    };
    std::size_t begin = 0;
    Kind kind = Kind::kSpace;
    const auto emit = [&](std::size_t end) {
      if (kind == Kind::kSpace || begin == end) return;
      sink({piece.text.substr(begin, end - begin), piece.is_first && begin == 0});
    };
    for (std::size_t offset = 0; offset < piece.text.size();) {
      const std::size_t start = offset;
      const Kind next = kind_of(next_code_point(piece.text, offset));
      if (next == kind) continue;
      emit(start);
      begin = start;
      kind = next;
    }
    emit(piece.text.size());
  }
};

/// The numbers of Unicode 17.0, where the reference takes its digits from a newer table.
bool is_numeric(char32_t c) {
  return is_number(category(c)) || (c >= 0x11de0 && c <= 0x11de9) || (c >= 0x16ff4 && c <= 0x16ff6);
}

std::unique_ptr<const PreTokenizer> parse_split(const JsonNode& node) {
  node.allow_only({"type", "pattern", "behavior", "invert"});
  const JsonNode behavior_node = node.require("behavior");
  const auto behavior = parse_split_behavior(behavior_node.as_string());
  if (!behavior) {
    behavior_node.fail(fmt::format("unknown behavior {}", in_quotes(behavior_node.as_string())));
  }
  const bool is_inverted = node.require("invert").as_bool();
  Pattern pattern = Pattern::from_json(node.require("pattern"));
  if (pattern.literal() == nullptr && behavior == SplitBehavior::kIsolated && !is_inverted) {
    if (const auto rule = find_split_rule(pattern.source())) {
      return std::make_unique<RuleSplit>(*rule);
    }
  }
  return std::make_unique<PatternSplit>(std::move(pattern), *behavior, is_inverted);
}

std::unique_ptr<const PreTokenizer> parse_metaspace(const JsonNode& node) {
  return std::make_unique<Metaspace>(metaspace_mark(node), metaspace_scheme(node),
                                     node.bool_or("split", true));
}

}  // namespace

PreTokenization::PreTokenization(const JsonNode& node) { add(node, 0); }

void PreTokenization::add(const JsonNode& node, int depth) {
  const auto type = part_type(node, depth);
  // Behind it the text is spelled in the byte alphabet, which no step here expects.
  if (word_units_ == WordUnits::kBytes) node.fail("ByteLevel must be the last pre-tokenizer");
  if (type == "Sequence") {
    node.allow_only({"type", "pretokenizers"});
    for (const auto& step : node.require("pretokenizers").as_array()) add(step, depth + 1);
  } else if (type == "ByteLevel") {
    add_byte_level(node);
  } else if (type == "Split") {
    steps_.push_back(parse_split(node));
  } else if (type == "Metaspace") {
    steps_.push_back(parse_metaspace(node));
  } else if (type == "Digits") {
    node.allow_only({"type", "individual_digits"});
    steps_.push_back(std::make_unique<CharacterSplit>(
        is_numeric, node.require("individual_digits").as_bool() ? SplitBehavior::kIsolated
                                                                : SplitBehavior::kContiguous));
  } else if (type == "Whitespace") {
    node.allow_only({"type"});
    steps_.push_back(std::make_unique<WhitespaceSplit>());
  } else if (type == "WhitespaceSplit") {
    node.allow_only({"type"});
    steps_.push_back(std::make_unique<CharacterSplit>(is_whitespace, SplitBehavior::kRemoved));
  } else {
    fail_part_type(node, type,
                   "ByteLevel, Split, Metaspace, Digits, Whitespace, WhitespaceSplit, Sequence");
  }
}

void PreTokenization::add_byte_level(const JsonNode& node) {
  node.allow_only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  if (node.require("add_prefix_space").as_bool()) steps_.push_back(std::make_unique<PrefixSpace>());
  if (node.bool_or("use_regex", true)) {
    steps_.push_back(std::make_unique<RuleSplit>(SplitRule::kGpt2));
  }
  word_units_ = WordUnits::kBytes;
}

void PreTokenization::split_from(std::size_t step, Piece piece, const PieceSink& sink) const {
  if (step == steps_.size()) return sink(piece);
  if (step + 1 == steps_.size()) return steps_[step]->split(piece, sink);
  steps_[step]->split(piece, [&](Piece part) { split_from(step + 1, part, sink); });
}

}  // namespace iol
