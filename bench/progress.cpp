#include "bench/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace iol::bench {
namespace {
constexpr int kWidth = 24;
}

std::string progress_text(double done, const std::string& what) {
  const auto filled = static_cast<std::size_t>(done * kWidth);
  return fmt::format("[{}{}] {:3.0f} %  {}", std::string(filled, '#'),
                     std::string(kWidth - filled, '.'), done * 100, what);
}

void ProgressBar::describe(const std::string& what) {
  what_ = what;
  draw();
}

void ProgressBar::advance_within(double fraction) {
  fraction_ = std::clamp(fraction, 0.0, 1.0);
  draw();
}

void ProgressBar::finish_step() {
  ++num_done_;
  fraction_ = 0;
  draw();
}

void ProgressBar::clear() {
  if (!shown_) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
}

void ProgressBar::draw() {
  if (!shown_ || num_steps_ <= 0) return;
  const double done =
      std::min((static_cast<double>(num_done_) + fraction_) / static_cast<double>(num_steps_), 1.0);
  fmt::print(stderr, "\r{}\x1b[K", progress_text(done, what_));
  std::fflush(stderr);
}

}  // namespace iol::bench
