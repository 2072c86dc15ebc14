#pragma once
#include <optional>
#include <string_view>
#include <vector>

#include "tokenizer/pattern.h"

namespace iol {

/// What becomes of the matches of a split pattern.
enum class SplitBehavior {
  kRemoved,             // they are dropped
  kIsolated,            // each is a part of its own
  kMergedWithPrevious,  // each joins the part before it
  kMergedWithNext,      // each joins the part behind it
  kContiguous,          // neighbouring matches are one part
};

std::optional<SplitBehavior> parse_split_behavior(std::string_view name);

/// Turns consecutive spans that cover a text into the parts that are left. The names and the
/// results are those of the `tokenizers` package.
std::vector<Span> apply_behavior(SplitBehavior behavior, const std::vector<Span>& spans);

}  // namespace iol
