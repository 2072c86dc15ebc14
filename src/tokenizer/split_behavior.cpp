#include "tokenizer/split_behavior.h"

#include <algorithm>

namespace iol {
namespace {

std::vector<Span> merge_matches_backward(const std::vector<Span>& spans) {
  std::vector<Span> parts;
  bool follows_match = false;
  for (const Span& span : spans) {
    if (span.is_match && !follows_match && !parts.empty()) {
      parts.back().end = span.end;
    } else {
      parts.push_back(span);
    }
    follows_match = span.is_match;
  }
  return parts;
}

std::vector<Span> merge_matches_forward(const std::vector<Span>& spans) {
  std::vector<Span> parts;
  bool precedes_match = false;
  for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
    if (span->is_match && !precedes_match && !parts.empty()) {
      parts.back().begin = span->begin;
    } else {
      parts.push_back(*span);
    }
    precedes_match = span->is_match;
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<Span> join_neighbours(const std::vector<Span>& spans) {
  std::vector<Span> parts;
  for (const Span& span : spans) {
    if (!parts.empty() && parts.back().is_match == span.is_match) {
      parts.back().end = span.end;
    } else {
      parts.push_back(span);
    }
  }
  return parts;
}

}  // namespace

std::optional<SplitBehavior> parse_split_behavior(std::string_view name) {
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return std::nullopt;
}

std::vector<Span> apply_behavior(SplitBehavior behavior, const std::vector<Span>& spans) {
  std::vector<Span> parts;
  switch (behavior) {
    case SplitBehavior::kRemoved:
      std::copy_if(spans.begin(), spans.end(), std::back_inserter(parts),
                   [](const Span& span) { return !span.is_match; });
      return parts;
    case SplitBehavior::kMergedWithPrevious:
      return merge_matches_backward(spans);
    case SplitBehavior::kMergedWithNext:
      return merge_matches_forward(spans);
    case SplitBehavior::kContiguous:
      return join_neighbours(spans);
    case SplitBehavior::kIsolated:
      break;
  }
  return spans;
}

}  // namespace iol
