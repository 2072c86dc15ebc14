#include "workload/arrival_process.h"

#include <boost/math/distributions/gamma.hpp>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/random.h"

namespace iol {
namespace {

// A shape below this has gaps that no clock can tell from 0; above, arrivals are constant.
constexpr double kSmallestShape = 1e-3;
constexpr double kLargestShape = 1e6;

/// False, and nothing changed, for what is no finite number above 0.
bool parse_positive(std::string_view text, double& value) {
  double parsed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  if (!std::isfinite(parsed) || parsed <= 0) return false;
  value = parsed;
  return true;
}

std::int64_t nanoseconds(double seconds) {
  return static_cast<std::int64_t>(std::llround(seconds * 1e9));
}

/// The moment by which a rate growing linearly from `first` to `last` within `span_s` has brought
/// `arrived` requests: first t + (last - first) t^2 / (2 span) = arrived.
double ramp_time_s(double first, double last, double span_s, double arrived) {
  const double slope = (last - first) / span_s;
  if (std::abs(slope) * span_s < 1e-9 * first) return arrived / first;
  return 2 * arrived / (first + std::sqrt(first * first + 2 * slope * arrived));
}

}  // namespace

ArrivalProcess ArrivalProcess::parse(std::string_view text, std::string_view option) {
  const auto colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  const bool has_parameter = colon != std::string_view::npos;
  if (name == "constant" && !has_parameter) return {std::string(text), Kind::kConstant, 0};
  if (name == "poisson" && !has_parameter) return {std::string(text), Kind::kPoisson, 1};
  double parameter = 0;
  const bool is_number = has_parameter && parse_positive(text.substr(colon + 1), parameter);
  if (name == "gamma" && is_number && parameter >= kSmallestShape && parameter <= kLargestShape) {
    return {std::string(text), Kind::kGamma, parameter};
  }
  if (name == "ramp" && is_number) return {std::string(text), Kind::kRamp, parameter};
  throw_input_error(
      "{} {}: expected constant, poisson, gamma:SHAPE (0.001 to 1000000; below 1 is bursty) or "
      "ramp:FROM (requests/s at the beginning)",
      option, text);
}

std::vector<std::int64_t> ArrivalProcess::due_times_ns(double rate_req_s, std::int64_t count,
                                                       std::uint64_t seed) const {
  IOL_CHECK(rate_req_s > 0 && count >= 0);
  std::vector<std::int64_t> times;
  times.reserve(static_cast<std::size_t>(count));
  if (kind_ == Kind::kConstant) {
    for (std::int64_t i = 0; i < count; ++i) {
      times.push_back(nanoseconds(static_cast<double>(i) / rate_req_s));
    }
    return times;
  }
  if (kind_ == Kind::kRamp) {
    const double span_s = 2 * static_cast<double>(count) / (parameter_ + rate_req_s);
    for (std::int64_t i = 0; i < count; ++i) {
      times.push_back(
          nanoseconds(ramp_time_s(parameter_, rate_req_s, span_s, static_cast<double>(i))));
    }
    return times;
  }
  // One uniform value per gap through the inverse of the distribution: the same everywhere.
  const boost::math::gamma_distribution<double> gaps(parameter_, 1 / (parameter_ * rate_req_s));
  RandomStream random(seed, 0x6172726976616cULL);
  double now_s = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const double u = random.uniform();
    now_s +=
        kind_ == Kind::kPoisson ? -std::log1p(-u) / rate_req_s : boost::math::quantile(gaps, u);
    times.push_back(nanoseconds(now_s));
  }
  return times;
}

}  // namespace iol
