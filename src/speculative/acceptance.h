#pragma once
#include <array>

namespace iol {

constexpr int kMaxDraftDepth = 16;

/// For each place j in a chain: the chance that the drafts before it and its own are accepted.
using DraftChances = std::array<float, kMaxDraftDepth>;

/// The chance that a draft is accepted where all before it in its chain were, by its place in the
/// chain (1st, 2nd, 3rd to 4th, 5th to 8th, beyond). Places are told apart because they differ:
/// what lookup finds is wrong at once or right for long, and a draft model loses the thread.
///
/// Decayed counts, each over its latest drafts. Two ways to begin: over all requests, with a usual
/// rate, a place taking after the one before it; or of one request, with what others saw. What was
/// not seen for a while keeps its rate and loses its weight (fade()).
class Acceptance {
 public:
  /// `memory`: about as many judged drafts are remembered.
  Acceptance(double usual_rate, double memory);
  /// A request's own. `others` counts like a handful of its drafts.
  Acceptance(const Acceptance& others, double memory);

  /// A draft was judged, those before it in its chain having been accepted. `place` from 0.
  void observe(int place, bool accepted);
  /// So many steps went by.
  void fade(int num_steps = 1);

  /// Of the draft at `place`, from 0.
  [[nodiscard]] double rate(int place) const;
  [[nodiscard]] DraftChances likely_chances() const;
  /// By the most that rates may well be: the upper ends of their intervals (Wilson 1927).
  [[nodiscard]] DraftChances hopeful_chances() const;
  /// Of the latest drafts at any place.
  [[nodiscard]] double overall_rate() const;

 private:
  static constexpr int kNumPlaces = 5;
  struct Counts {
    double accepted = 0;
    double judged = 0;
  };

  /// Places that are alike, below kNumPlaces; what follows takes these.
  static int place_of(int index);
  [[nodiscard]] double prior(int place) const;
  [[nodiscard]] double prior_weight(int place) const;
  [[nodiscard]] double weighted_rate(int place) const;
  [[nodiscard]] double hopeful_rate(int place) const;
  template <class Rate>
  static DraftChances chances_of(Rate rate);

  std::array<Counts, kNumPlaces> counts_;
  std::array<double, kNumPlaces> inherited_{};  // of a request
  bool is_of_request_ = false;
  double keep_;
};

}  // namespace iol
