#pragma once

namespace iol {

/// The chance that a draft token is accepted where all before it in its chain were: a decayed count
/// over the latest ones, which begins with the weight of what others saw.
class Acceptance {
 public:
  /// Begins with `rate`, weighing as much as so many judged tokens, and remembers about
  /// `memory_tokens` of them.
  Acceptance(double rate, double weight_tokens, double memory_tokens)
      : accepted_(rate * weight_tokens), judged_(weight_tokens), keep_(1 - 1 / memory_tokens) {}

  /// A draft was judged, those before it in its chain having been accepted.
  void observe(bool accepted) {
    accepted_ = keep_ * accepted_ + (accepted ? 1 : 0);
    judged_ = keep_ * judged_ + 1;
  }
  [[nodiscard]] double rate() const { return accepted_ / judged_; }

 private:
  double accepted_;
  double judged_;
  double keep_;
};

}  // namespace iol
