#pragma once
#include <vector>

namespace iol {

/// How long a forward pass takes by its number of rows (tokens), learnt from those that ran.
///
/// A table over row counts, times one scale for all of them: contexts that grow or a machine that
/// slows down move the scale, and so the row counts that were not seen lately too. Between row
/// counts that were seen, straight lines; beyond them, the slope of the nearest two, or a guess
/// before there are two; far beyond, where rows that were free may be so no more, at least what
/// passes over many rows have taught. Outliers count for twice the expected time at most. What was
/// not seen for a while counts for less beside what is seen next, and is forgotten after some
/// hundreds of others if it was seen a few times only.
class StepTimes {
 public:
  /// `seconds_guess`: of a pass over one row, before any was seen.
  explicit StepTimes(double seconds_guess);

  void observe(int num_rows, double seconds);
  /// Something else was seen: what is known here grows older.
  void fade();
  [[nodiscard]] double seconds(int num_rows) const;
  /// How far a pass over so many rows may well be from seconds(): the standard error of the row
  /// count seen next to it.
  [[nodiscard]] double doubt_seconds(int num_rows) const;
  /// True when so many rows were seen, or down to a quarter fewer.
  [[nodiscard]] bool has_seen_about(int num_rows) const;
  [[nodiscard]] bool has_seen_any() const { return !entries_.empty(); }
  /// The most rows that were seen lately; 0 before any.
  [[nodiscard]] int most_rows() const {
    return entries_.empty() ? 0 : static_cast<int>(entries_.back().num_rows);
  }

 private:
  struct Entry {
    int bucket = 0;
    double seconds = 0;   // in units of the scale
    double num_rows = 0;  // the mean of what was seen here
    double weight = 0;    // observations, those of long ago in part
    int num_seen = 0;
  };

  static int bucket_of(int num_rows);
  void learn_row_share(int num_rows, double seconds);
  /// Nothing where the row count was not seen before, and was added as seen now.
  Entry* find_or_add(int num_rows, double seconds);

  std::vector<Entry> entries_;  // of buckets that were seen, rising
  double scale_ = 1;
  double seconds_guess_;
  double row_share_;  // of one more row in the time of the first
  double variance_;   // of an observation's surprise, relative
};

}  // namespace iol
