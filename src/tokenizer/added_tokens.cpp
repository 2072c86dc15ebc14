#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "base/error.h"
#include "tokenizer/unicode.h"
#include "tokenizer/utf8.h"

namespace iol {
namespace {

bool starts_with_word(std::string_view text) {
  std::size_t offset = 0;
  return !text.empty() && is_word(next_code_point(text, offset));
}

bool ends_with_word(std::string_view text) {
  return !text.empty() && is_word(code_point_before(text, text.size()));
}

/// Start of the whitespace that ends at `end`, not before `least`.
std::size_t whitespace_begin(std::string_view text, std::size_t least, std::size_t end) {
  while (end > least) {
    const char32_t last = code_point_before(text, end);
    if (!is_whitespace(last)) break;
    end -= to_utf8(last).size();
  }
  return end;
}

std::size_t whitespace_end(std::string_view text, std::size_t begin) {
  for (std::size_t next = begin; next < text.size(); begin = next) {
    if (!is_whitespace(next_code_point(text, next))) break;
  }
  return begin;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens,
                                     std::vector<std::string> contents) {
  IOL_CHECK(tokens.size() == contents.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    IOL_CHECK(!contents[i].empty());
    sought_.push_back({std::move(contents[i]), std::move(tokens[i])});
  }
  std::stable_sort(sought_.begin(), sought_.end(),
                   [](const auto& a, const auto& b) { return a.content < b.content; });
  sought_.erase(std::unique(sought_.begin(), sought_.end(),
                            [](const auto& a, const auto& b) { return a.content == b.content; }),
                sought_.end());
  for (std::size_t i = 0; i < sought_.size(); ++i) {
    auto& range = by_first_byte_[static_cast<unsigned char>(sought_[i].content[0])];
    if (range.end == 0) range.begin = static_cast<std::uint32_t>(i);
    range.end = static_cast<std::uint32_t>(i + 1);
  }
}

const AddedTokenMatcher::SoughtToken* AddedTokenMatcher::longest_at(std::string_view text) const {
  const auto range = by_first_byte_[static_cast<unsigned char>(text[0])];
  auto low = sought_.begin() + range.begin;
  auto high = sought_.begin() + range.end;
  const SoughtToken* longest = nullptr;
  // [low, high) are the tokens that start with the first `length` bytes of the text. Being sorted,
  // the one that is exactly those bytes comes first.
  for (std::size_t length = 1; low != high; ++length) {
    if (low->content.size() == length) longest = &*low++;
    if (low == high || length == text.size()) break;
    const auto byte = static_cast<unsigned char>(text[length]);
    const auto byte_of = [&](const SoughtToken& sought) {
      return static_cast<unsigned char>(sought.content[length]);
    };
    low = std::partition_point(low, high, [&](const auto& s) { return byte_of(s) < byte; });
    high = std::partition_point(low, high, [&](const auto& s) { return byte_of(s) == byte; });
  }
  return longest;
}

std::optional<AddedTokenMatcher::Found> AddedTokenMatcher::find(std::string_view text,
                                                                std::size_t from) const {
  for (; from < text.size(); ++from) {
    if (by_first_byte_[static_cast<unsigned char>(text[from])].end == 0) continue;
    if (const auto* sought = longest_at(text.substr(from))) {
      return Found{from, from + sought->content.size(), &sought->token};
    }
  }
  return std::nullopt;
}

void AddedTokenMatcher::split(std::string_view text,
                              const std::function<void(std::string_view)>& on_text,
                              const std::function<void(std::int32_t)>& on_token) const {
  std::size_t covered = 0;
  std::size_t from = 0;
  while (!sought_.empty()) {
    auto found = find(text, from);
    if (!found) break;
    from = found->end;  // a token that doesn't count here still hides those inside it
    const AddedToken& token = *found->token;
    if (token.is_single_word && (ends_with_word(text.substr(0, found->begin)) ||
                                 starts_with_word(text.substr(found->end)))) {
      continue;
    }
    if (token.strips_left && found->begin > covered) {
      found->begin = whitespace_begin(text, covered, found->begin);
    }
    if (token.strips_right) found->end = whitespace_end(text, found->end);
    if (covered < found->begin) on_text(text.substr(covered, found->begin - covered));
    on_token(token.id);
    covered = found->end;
  }
  if (covered < text.size()) on_text(text.substr(covered));
}

}  // namespace iol
