#pragma once
// When the requests of an open loop are due, whatever becomes of the earlier ones.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace iol {

/// A way for requests to arrive at a mean rate.
///
///   `constant`     every 1 / rate seconds
///   `poisson`      gaps from an exponential distribution: clients that know nothing of each other
///   `gamma:SHAPE`  gaps from a gamma distribution of this shape and mean 1 / rate; the standard
///                  deviation of a gap is 1 / sqrt(SHAPE) of its mean, so below 1 is burstier than
///                  Poisson (which is gamma:1), above 1 more even
///   `ramp:FROM`    a rate that grows linearly from FROM at the first request to the asked rate at
///                  the last
class ArrivalProcess {
 public:
  /// Throws InputError naming `option`, the text and the accepted forms.
  static ArrivalProcess parse(std::string_view text, std::string_view option);

  /// Nanoseconds from the beginning at which each of `count` requests is due, ascending; a pure
  /// function of its arguments. `rate_req_s` above 0; the first request is due after one gap, but
  /// for `constant` and `ramp`, which begin at 0.
  [[nodiscard]] std::vector<std::int64_t> due_times_ns(double rate_req_s, std::int64_t count,
                                                       std::uint64_t seed) const;
  /// The text it was parsed from.
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  enum class Kind : std::uint8_t { kConstant, kPoisson, kGamma, kRamp };
  ArrivalProcess(std::string text, Kind kind, double parameter)
      : text_(std::move(text)), kind_(kind), parameter_(parameter) {}

  std::string text_;
  Kind kind_;
  double parameter_;  // shape of gamma, first rate of ramp
};

}  // namespace iol
