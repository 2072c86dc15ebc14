#include "sampler/stop_strings.h"

#include <algorithm>
#include <utility>

namespace iol {
namespace {

/// Length of the longest end of `text` that begins `stop` without being all of it.
std::size_t overlap(std::string_view text, std::string_view stop) {
  for (std::size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length) {
    if (text.ends_with(stop.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase(stops_, std::string());
}

std::string StopStrings::push(std::string_view piece, bool may_stop) {
  if (stopped_) return {};
  if (stops_.empty()) return std::string(piece);
  const std::size_t num_old = held_.size();
  held_ += piece;
  if (may_stop) {
    if (const auto cut = find_first(num_old)) {
      stopped_ = true;
      held_.resize(*cut);
      return std::exchange(held_, {});
    }
  }
  std::size_t num_held = 0;
  for (const std::string& stop : stops_) num_held = std::max(num_held, overlap(held_, stop));
  std::string released = held_.substr(0, held_.size() - num_held);
  held_.erase(0, released.size());
  return released;
}

/// Where the first match begins that ends after the first `num_old` bytes of the held text.
std::optional<std::size_t> StopStrings::find_first(std::size_t num_old) const {
  std::optional<std::size_t> first_begin;
  std::size_t first_end = held_.size() + 1;
  for (const std::string& stop : stops_) {
    const std::size_t from = num_old >= stop.size() ? num_old + 1 - stop.size() : 0;
    const std::size_t begin = held_.find(stop, from);
    if (begin == std::string::npos) continue;
    const std::size_t end = begin + stop.size();
    if (end < first_end || (end == first_end && begin < *first_begin)) {
      first_begin = begin;
      first_end = end;
    }
  }
  return first_begin;
}

std::string StopStrings::finish() { return std::exchange(held_, {}); }

}  // namespace iol
