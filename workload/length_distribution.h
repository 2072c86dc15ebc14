#pragma once
// Lengths of prompts and outputs, drawn from a distribution that the command line names.
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/random.h"

namespace iol {

/// A distribution over token counts. Every sample is at least 1.
///
///   `100`                   always 100
///   `uniform:LOW:HIGH`      LOW to HIGH, both included
///   `normal:MEAN:STD`       rounded to the nearest, clamped to >= 1
///   `lognormal:MU:SIGMA`    exp of a normal of mean MU and deviation SIGMA (natural logarithm),
///                           rounded to the nearest, clamped to >= 1
class LengthDistribution {
 public:
  /// Throws InputError naming `option`, the text and the accepted forms.
  static LengthDistribution parse(std::string_view text, std::string_view option);

  /// A pure function of the stream's position; uses a fixed number of its values per sample.
  [[nodiscard]] std::int64_t sample(RandomStream& random) const;
  /// The text it was parsed from.
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  struct Fixed {
    std::int64_t value;
  };
  struct Uniform {
    std::int64_t low;
    std::int64_t high;
  };
  struct Normal {
    double mean;
    double deviation;
    bool logarithmic;
  };
  using Shape = std::variant<Fixed, Uniform, Normal>;
  LengthDistribution(std::string text, Shape shape) : text_(std::move(text)), shape_(shape) {}

  std::string text_;
  Shape shape_;
};

}  // namespace iol
