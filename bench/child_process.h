#pragma once
// A child process that is spoken to in lines on its stdin and stdout.
#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace iol::bench {

/// Why a line could not be had.
enum class ReadOutcome : unsigned char { kLine, kEnded, kTimedOut, kInterrupted };

struct ReadResult {
  ReadOutcome outcome = ReadOutcome::kEnded;
  std::string line;  // without its line break
};

/// Starts in a process group of its own, so that a Ctrl-C at the terminal reaches the parent alone
/// and a kill takes whatever the child started with it. The kernel kills the child when the thread
/// that started it ends, so no child outlives the bench. Its stderr is kept in memory.
class ChildProcess {
 public:
  /// `arguments[0]` is looked up in PATH. Throws ResourceError when it can't be started.
  explicit ChildProcess(const std::vector<std::string>& arguments);
  /// Kills the group if it is still there.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  [[nodiscard]] pid_t process_id() const { return process_id_; }

  /// Sends the text and a line break. False when the child no longer reads, or when `interrupted`
  /// turned true (polled about ten times a second) before all of it was taken.
  bool write_line(const std::string& text, const std::function<bool()>& interrupted);
  /// Waits for a line, at most `seconds`.
  ReadResult read_line(double seconds, const std::function<bool()>& interrupted);

  /// Closes the child's stdin, gives it `seconds` to end by itself, then kills the group.
  void stop(double seconds) noexcept;
  void kill() noexcept;
  /// "ended with status 3", "was killed by signal 9 (Killed)"; only after it has ended.
  [[nodiscard]] std::string end_description() const;
  /// The last lines of its stderr, at most `max_lines`, joined with " | ".
  [[nodiscard]] std::string stderr_tail(std::size_t max_lines) const;

 private:
  void reap(bool wait) noexcept;
  void close_pipes() noexcept;

  pid_t process_id_ = -1;
  int stdin_ = -1;
  int stdout_ = -1;
  int stderr_ = -1;  // a file in memory
  std::string unread_;
  std::optional<int> wait_status_;
  bool group_killed_ = false;
};

}  // namespace iol::bench
