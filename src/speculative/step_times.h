#pragma once
#include <array>
#include <cstdint>

namespace iol {

/// How long a forward pass takes by its number of rows (tokens), learnt from those that ran.
///
/// A table over row counts, times one scale for all of them: contexts that grow or a machine that
/// slows down move the scale, and so the row counts that were not seen lately too. Between row
/// counts that were seen, straight lines; beyond them, the slope of the nearest two, or a guess
/// before there are two. Outliers count for twice the expected time at most.
class StepTimes {
 public:
  /// `seconds_guess`: of a pass over one row, before any was seen.
  explicit StepTimes(double seconds_guess);

  void observe(int num_rows, double seconds);
  [[nodiscard]] double seconds(int num_rows) const;
  /// True when so many rows were seen, or down to a quarter fewer.
  [[nodiscard]] bool has_seen_about(int num_rows) const;
  [[nodiscard]] bool has_seen_any() const { return num_seen_ > 0; }
  /// The most rows that were seen; 0 before any.
  [[nodiscard]] int most_rows() const { return most_rows_; }

 private:
  static constexpr int kNumBuckets = 96;
  struct Entry {
    double seconds = 0;   // in units of the scale
    double num_rows = 0;  // the mean of what was seen here
    std::int64_t count = 0;
  };

  static int bucket_of(int num_rows);

  std::array<Entry, kNumBuckets> entries_;
  double scale_ = 1;
  double seconds_guess_;
  int num_seen_ = 0;  // entries with a count
  int most_rows_ = 0;
};

}  // namespace iol
