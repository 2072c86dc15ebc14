#include "tokenizer/pattern.h"

#include <fmt/format.h>

#include <stdexcept>

namespace iol {

Pattern Pattern::from_json(const JsonNode& node) {
  if (const auto literal = node.find("String")) {
    node.allow_only({"String"});
    if (literal->as_string().empty()) literal->fail("the pattern is empty");
    return {std::string(literal->as_string()), nullptr};
  }
  node.allow_only({"Regex"});
  const JsonNode source = node.require("Regex");
  try {
    return {std::string(source.as_string()), std::make_shared<const Regex>(source.as_string())};
  } catch (const std::invalid_argument& error) {
    source.fail(fmt::format("{} in {}", error.what(), in_quotes(source.as_string())));
  }
}

std::vector<Span> Pattern::partition(std::string_view text) const {
  std::vector<Span> matches;
  if (regex_) {
    regex_->find_matches(text, matches);
  } else {
    std::size_t from = 0;
    for (std::size_t at = 0; (at = text.find(source_, from)) != std::string_view::npos;) {
      from = at + source_.size();
      matches.push_back({at, from, true});
    }
  }
  std::vector<Span> parts;
  parts.reserve(matches.size() * 2 + 1);
  std::size_t covered = 0;
  for (const Span& match : matches) {
    if (covered < match.begin) parts.push_back({covered, match.begin, false});
    parts.push_back(match);
    covered = match.end;
  }
  if (covered < text.size()) parts.push_back({covered, text.size(), false});
  return parts;
}

std::string Pattern::replace(std::string_view text, std::string_view content) const {
  std::string result;
  for (const Span& part : partition(text)) {
    result += part.is_match ? content : text.substr(part.begin, part.end - part.begin);
  }
  return result;
}

}  // namespace iol
