#pragma once
#include <cstdint>
#include <string>

namespace iol::bench {

/// "[####....]  50 %  loading"; `done` in [0, 1].
std::string progress_text(double done, const std::string& what);

/// One line on stderr that is redrawn in place, and nothing at all when not shown.
class ProgressBar {
 public:
  ProgressBar(bool shown, std::int64_t num_steps) : shown_(shown), num_steps_(num_steps) {}
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// What is being done now.
  void describe(const std::string& what);
  /// How much of the current step is done, in [0, 1].
  void advance_within(double fraction);
  void finish_step();
  /// Takes the line away, so that something else may be printed.
  void clear();

 private:
  void draw();

  bool shown_;
  std::int64_t num_steps_;
  std::int64_t num_done_ = 0;
  double fraction_ = 0;
  std::string what_;
};

}  // namespace iol::bench
