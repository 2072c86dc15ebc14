#pragma once
// How often each length occurred: exact percentiles of any number of requests in bounded memory.
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace iol {

/// Counts of non-negative whole numbers. Memory grows with the number of different values, which
/// for token counts is small, never with the number of requests.
class LengthHistogram {
 public:
  void add(std::int64_t length);
  [[nodiscard]] std::int64_t count() const { return count_; }
  [[nodiscard]] double sum() const { return sum_; }
  [[nodiscard]] double mean() const;  // 0 for none
  [[nodiscard]] std::int64_t max() const { return max_; }
  /// Nearest rank: the smallest length such that at least `percents[i]` percent are at or below it.
  /// `percents` ascending, each above 0 and at most 100; all 0 for no length.
  [[nodiscard]] std::vector<std::int64_t> percentiles(const std::vector<double>& percents) const;

 private:
  static constexpr std::int64_t kDirect = 1 << 16;
  std::vector<std::int64_t> direct_ = std::vector<std::int64_t>(kDirect);
  std::unordered_map<std::int64_t, std::int64_t> others_;
  std::int64_t count_ = 0;
  std::int64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace iol
