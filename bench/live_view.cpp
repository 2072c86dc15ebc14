#include "bench/live_view.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>

#include "base/clock.h"
#include "bench/progress.h"
#include "report/format.h"

namespace iol::bench {
namespace {

constexpr std::int64_t kRateWindowNs = 500'000'000;
constexpr std::size_t kUsualColumns = 80;

std::size_t terminal_columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualColumns;
  return size.ws_col;
}

/// In one piece, so that no half-drawn line is ever seen. A terminal that is gone is no error.
void write_all(std::string_view text) {
  while (!text.empty()) {
    const auto count = ::write(STDERR_FILENO, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

/// A line that wraps would leave its rest behind when it is redrawn. ASCII only.
std::string cut(const std::string& line, std::size_t columns) {
  return line.substr(0, columns > 0 ? columns - 1 : 0);
}

std::string state_text(const RunProgress& progress, std::optional<double> tokens_per_s,
                       std::optional<double> power_w) {
  std::string text;
  const auto add = [&](std::string part) { text += (text.empty() ? "" : "  ") + std::move(part); };
  if (tokens_per_s) add(report::format_count(std::llrint(*tokens_per_s)) + " tokens/s");
  if (const auto& engine = progress.engine) {
    add(fmt::format("{} running", engine->running));
    add(fmt::format("{} waiting", engine->waiting));
    if (engine->kv_blocks > 0) {
      add(fmt::format("KV cache {:.0f} %", 100.0 * engine->kv_blocks_used / engine->kv_blocks));
    }
  } else {
    add(fmt::format("{} requests done", progress.completed));
  }
  if (power_w) add(fmt::format("{:.0f} W", *power_w));
  return text;
}

}  // namespace

void LiveView::describe(const std::string& what) {
  what_ = what;
  state_.clear();
  tokens_per_s_.reset();
  rate_from_ns_ = 0;
  draw();
}

void LiveView::measure_rate(const RunProgress& progress) {
  if (!progress.engine) return;
  const std::int64_t now = now_ns();
  const std::int64_t tokens = progress.engine->generated_tokens;
  if (rate_from_ns_ != 0 && now - rate_from_ns_ < kRateWindowNs) return;
  if (rate_from_ns_ != 0) {
    tokens_per_s_ = static_cast<double>(tokens - rate_from_tokens_) * 1e9 /
                    static_cast<double>(now - rate_from_ns_);
  }
  rate_from_ns_ = now;
  rate_from_tokens_ = tokens;
}

void LiveView::advance_within(double fraction, const RunProgress& progress,
                              std::optional<double> power_w) {
  if (!shown_) return;
  fraction_ = std::clamp(fraction, 0.0, 1.0);
  measure_rate(progress);
  state_ = state_text(progress, tokens_per_s_, power_w);
  draw();
}

void LiveView::finish_step() {
  ++num_done_;
  fraction_ = 0;
  draw();
}

void LiveView::clear() {
  if (!drawn_) return;
  write_all("\r\x1b[K\n\x1b[K\x1b[1A");
  drawn_ = false;
}

void LiveView::draw() {
  if (!shown_ || num_steps_ <= 0) return;
  const double done =
      std::min((static_cast<double>(num_done_) + fraction_) / static_cast<double>(num_steps_), 1.0);
  const auto columns = terminal_columns();
  // The cursor stays at the beginning of the first line, where other output may begin.
  write_all(fmt::format("\r{}\x1b[K\n{}\x1b[K\x1b[1A\r", cut(progress_text(done, what_), columns),
                        cut(state_, columns)));
  drawn_ = true;
}

}  // namespace iol::bench
