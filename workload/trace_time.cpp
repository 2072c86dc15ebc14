#include "workload/trace_time.h"

#include <chrono>

namespace iol {
namespace {

constexpr std::int64_t kNsPerS = 1'000'000'000;

/// Takes digits off the front.
class TimeText {
 public:
  explicit TimeText(std::string_view text) : text_(text) {}

  std::optional<int> number(std::size_t digits) {
    if (text_.size() < digits) return std::nullopt;
    int value = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      if (text_[i] < '0' || text_[i] > '9') return std::nullopt;
      value = 10 * value + (text_[i] - '0');
    }
    text_.remove_prefix(digits);
    return value;
  }

  bool take(char c) {
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }

  /// Digits behind a point, as nanoseconds.
  std::optional<std::int64_t> fraction_ns() {
    std::int64_t scale = kNsPerS;
    std::int64_t value = 0;
    const std::size_t before = text_.size();
    while (!text_.empty() && text_.front() >= '0' && text_.front() <= '9') {
      scale /= 10;
      value += scale * (text_.front() - '0');
      text_.remove_prefix(1);
    }
    if (text_.size() == before) return std::nullopt;
    return value;
  }

  [[nodiscard]] bool empty() const { return text_.empty(); }

 private:
  std::string_view text_;
};

/// Seconds east of UTC; nothing for what is no zone.
std::optional<std::int64_t> zone_s(TimeText& text) {
  if (text.empty()) return 0;
  if (text.take('Z')) return text.empty() ? std::optional<std::int64_t>(0) : std::nullopt;
  const bool west = text.take('-');
  if (!west && !text.take('+')) return std::nullopt;
  const auto hours = text.number(2);
  text.take(':');
  const auto minutes = text.number(2);
  if (!hours || !minutes || *hours > 14 || *minutes > 59 || !text.empty()) return std::nullopt;
  const std::int64_t seconds = *hours * 3600 + *minutes * 60;
  return west ? -seconds : seconds;
}

}  // namespace

std::optional<std::int64_t> parse_time_ns(std::string_view content) {
  TimeText text(content);
  const auto year = text.number(4);
  if (!year || !text.take('-')) return std::nullopt;
  const auto month = text.number(2);
  if (!month || !text.take('-')) return std::nullopt;
  const auto day = text.number(2);
  if (!day || !(text.take(' ') || text.take('T'))) return std::nullopt;
  const auto hour = text.number(2);
  if (!hour || !text.take(':')) return std::nullopt;
  const auto minute = text.number(2);
  if (!minute || !text.take(':')) return std::nullopt;
  const auto second = text.number(2);
  if (!second || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  std::int64_t fraction = 0;
  if (text.take('.')) {
    const auto digits = text.fraction_ns();
    if (!digits) return std::nullopt;
    fraction = *digits;
  }
  const auto zone = zone_s(text);
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!zone || !date.ok() || *year < 1970 || *year > 2200) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const std::int64_t seconds = days * 86'400 + *hour * 3600 + *minute * 60 + *second - *zone;
  return seconds * kNsPerS + fraction;
}

}  // namespace iol
