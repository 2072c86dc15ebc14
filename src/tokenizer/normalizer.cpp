#include "tokenizer/normalizer.h"

#include <fmt/format.h>

#include <vector>

#include "tokenizer/json_parts.h"
#include "tokenizer/pattern.h"
#include "tokenizer/unicode.h"
#include "tokenizer/unicode_forms.h"
#include "tokenizer/utf8.h"

namespace iol {
namespace {

class SequenceNormalizer : public Normalizer {
 public:
  explicit SequenceNormalizer(std::vector<std::unique_ptr<const Normalizer>> steps)
      : steps_(std::move(steps)) {}
  void normalize(std::string& text) const override {
    for (const auto& step : steps_) {
      if (!text.empty()) step->normalize(text);
    }
  }

 private:
  std::vector<std::unique_ptr<const Normalizer>> steps_;
};

class FormNormalizer : public Normalizer {
 public:
  explicit FormNormalizer(UnicodeForm form) : form_(form) {}
  void normalize(std::string& text) const override { text = to_unicode_form(form_, text); }

 private:
  UnicodeForm form_;
};

class PrependNormalizer : public Normalizer {
 public:
  explicit PrependNormalizer(std::string_view prefix) : prefix_(prefix) {}
  void normalize(std::string& text) const override { text.insert(0, prefix_); }

 private:
  std::string prefix_;
};

class ReplaceNormalizer : public Normalizer {
 public:
  ReplaceNormalizer(Pattern pattern, std::string_view content)
      : pattern_(std::move(pattern)), content_(content) {}
  void normalize(std::string& text) const override { text = pattern_.replace(text, content_); }

 private:
  Pattern pattern_;
  std::string content_;
};

class StripNormalizer : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  void normalize(std::string& text) const override {
    std::size_t end = text.size();
    while (right_ && end > 0) {
      const char32_t last = code_point_before(text, end);
      if (!is_whitespace(last)) break;
      end -= to_utf8(last).size();
    }
    text.resize(end);
    std::size_t begin = 0;
    for (std::size_t next = 0; left_ && next < text.size(); begin = next) {
      if (!is_whitespace(next_code_point(text, next))) break;
    }
    text.erase(0, begin);
  }

 private:
  bool left_;
  bool right_;
};

class LowercaseNormalizer : public Normalizer {
 public:
  void normalize(std::string& text) const override {
    std::string lower;
    lower.reserve(text.size());
    for (std::size_t offset = 0; offset < text.size();) {
      const char32_t c = next_code_point(text, offset);
      if (c == 0x130) {
        lower += "i\xcc\x87";  // the one character whose lower case is two
      } else {
        append_utf8(to_lower(c), lower);
      }
    }
    text = std::move(lower);
  }
};

std::unique_ptr<const Normalizer> parse_at_depth(const JsonNode& node, int depth) {
  const auto type = part_type(node, depth);
  if (type == "Sequence") {
    node.allow_only({"type", "normalizers"});
    std::vector<std::unique_ptr<const Normalizer>> steps;
    for (const auto& step : node.require("normalizers").as_array()) {
      steps.push_back(parse_at_depth(step, depth + 1));
    }
    return std::make_unique<SequenceNormalizer>(std::move(steps));
  }
  if (type == "Prepend") {
    node.allow_only({"type", "prepend"});
    return std::make_unique<PrependNormalizer>(node.require("prepend").as_string());
  }
  if (type == "Replace") {
    node.allow_only({"type", "pattern", "content"});
    return std::make_unique<ReplaceNormalizer>(Pattern::from_json(node.require("pattern")),
                                               node.require("content").as_string());
  }
  if (type == "Strip") {
    node.allow_only({"type", "strip_left", "strip_right"});
    return std::make_unique<StripNormalizer>(node.require("strip_left").as_bool(),
                                             node.require("strip_right").as_bool());
  }
  node.allow_only({"type"});
  if (type == "Lowercase") return std::make_unique<LowercaseNormalizer>();
  if (type == "NFC") return std::make_unique<FormNormalizer>(UnicodeForm::kNfc);
  if (type == "NFD") return std::make_unique<FormNormalizer>(UnicodeForm::kNfd);
  if (type == "NFKC") return std::make_unique<FormNormalizer>(UnicodeForm::kNfkc);
  if (type == "NFKD") return std::make_unique<FormNormalizer>(UnicodeForm::kNfkd);
  fail_part_type(node, type, "NFC, NFD, NFKC, NFKD, Prepend, Replace, Strip, Lowercase, Sequence");
}

}  // namespace

std::unique_ptr<const Normalizer> parse_normalizer(const JsonNode& node) {
  return parse_at_depth(node, 0);
}

}  // namespace iol
