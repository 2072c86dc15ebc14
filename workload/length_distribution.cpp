#include "workload/length_distribution.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"

namespace iol {
namespace {

// Longer than any model's context; keeps every later sum and product far from overflow.
constexpr std::int64_t kMaxLength = 1 << 30;

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const auto colon = text.find(':');
    parts.push_back(text.substr(0, colon));
    if (colon == std::string_view::npos) return parts;
    text.remove_prefix(colon + 1);
  }
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::int64_t> parse_length(std::string_view text) {
  const auto value = parse_number<std::int64_t>(text);
  if (!value || *value < 1 || *value > kMaxLength) return std::nullopt;
  return value;
}

std::optional<double> parse_finite(std::string_view text) {
  const auto value = parse_number<double>(text);
  if (!value || !std::isfinite(*value)) return std::nullopt;
  return value;
}

/// Box and Muller's transform of two uniform values.
double standard_normal(RandomStream& random) {
  const double radius = std::sqrt(-2 * std::log(1 - random.uniform()));
  return radius * std::cos(2 * std::numbers::pi * random.uniform());
}

}  // namespace

LengthDistribution LengthDistribution::parse(std::string_view text, std::string_view option) {
  const auto parts = split(text);
  std::optional<Shape> shape;
  if (parts.size() == 1) {
    if (const auto length = parse_length(parts[0])) shape = Fixed{*length};
  } else if (parts.size() == 3 && parts[0] == "uniform") {
    const auto low = parse_length(parts[1]);
    const auto high = parse_length(parts[2]);
    if (low && high && *low <= *high) shape = Uniform{*low, *high};
  } else if (parts.size() == 3 && (parts[0] == "normal" || parts[0] == "lognormal")) {
    const auto mean = parse_finite(parts[1]);
    const auto deviation = parse_finite(parts[2]);
    if (mean && deviation && *deviation >= 0) {
      shape = Normal{*mean, *deviation, parts[0] == "lognormal"};
    }
  }
  if (!shape) {
    throw_input_error(
        "{} {}: expected a length of at least 1, uniform:LOW:HIGH, normal:MEAN:STD or "
        "lognormal:MU:SIGMA",
        option, text);
  }
  return {std::string(text), *shape};
}

std::int64_t LengthDistribution::sample(RandomStream& random) const {
  if (const auto* fixed = std::get_if<Fixed>(&shape_)) return fixed->value;
  if (const auto* uniform = std::get_if<Uniform>(&shape_)) {
    const auto span = static_cast<std::uint64_t>(uniform->high - uniform->low + 1);
    return uniform->low + static_cast<std::int64_t>(random.below(span));
  }
  const auto& normal = std::get<Normal>(shape_);
  double value = normal.mean + normal.deviation * standard_normal(random);
  if (normal.logarithmic) value = std::exp(value);
  value = std::clamp(std::round(value), 1.0, static_cast<double>(kMaxLength));
  return static_cast<std::int64_t>(value);
}

}  // namespace iol
