#include "bench/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "base/clock.h"
#include "base/error.h"

namespace iol::bench {
namespace {

constexpr int kPollMs = 100;  // how often an interruption is looked for
constexpr std::size_t kStderrTailBytes = 16384;

struct Pipe {
  int read_end = -1;
  int write_end = -1;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw_resource_error("can't create a pipe for a child process: {}", std::strerror(errno));
  }
  return {ends[0], ends[1]};
}

void close_fd(int& fd) noexcept {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

/// In the child, between fork and exec: only async-signal-safe calls. Returns only on failure.
void become(char* const* arguments, int stdin_fd, int stdout_fd, int stderr_fd, pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // the parent ended before the line above
  ::dup2(stdin_fd, STDIN_FILENO);
  ::dup2(stdout_fd, STDOUT_FILENO);
  ::dup2(stderr_fd, STDERR_FILENO);
  ::signal(SIGPIPE, SIG_DFL);
  ::execvp(arguments[0], arguments);
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& arguments) {
  std::vector<char*> argument_pointers;
  for (const auto& argument : arguments) {
    argument_pointers.push_back(const_cast<char*>(argument.c_str()));
  }
  argument_pointers.push_back(nullptr);
  Pipe to_child = make_pipe();
  Pipe from_child = make_pipe();
  Pipe exec_error = make_pipe();  // closed by a successful exec, otherwise carries errno
  stderr_ = ::memfd_create("stderr", MFD_CLOEXEC);
  const pid_t parent = ::getpid();
  process_id_ = stderr_ < 0 ? -1 : ::fork();
  if (process_id_ == 0) {
    become(argument_pointers.data(), to_child.read_end, from_child.write_end, stderr_, parent);
    const int error = errno;
    [[maybe_unused]] const auto written = ::write(exec_error.write_end, &error, sizeof(error));
    ::_exit(127);
  }
  close_fd(to_child.read_end);
  close_fd(from_child.write_end);
  close_fd(exec_error.write_end);
  stdin_ = to_child.write_end;
  stdout_ = from_child.read_end;
  int error = process_id_ < 0 ? errno : 0;
  if (process_id_ > 0) {
    ::setpgid(process_id_, process_id_);  // also here: whichever of the two comes first
    if (::read(exec_error.read_end, &error, sizeof(error)) != sizeof(error)) error = 0;
    ::fcntl(stdin_, F_SETFL, O_NONBLOCK);
  }
  close_fd(exec_error.read_end);
  if (error != 0) {
    kill();
    close_pipes();
    throw_resource_error("can't start {}: {}", arguments[0], std::strerror(error));
  }
}

ChildProcess::~ChildProcess() {
  kill();
  close_pipes();
}

void ChildProcess::close_pipes() noexcept {
  close_fd(stdin_);
  close_fd(stdout_);
  close_fd(stderr_);
}

bool ChildProcess::write_line(const std::string& text, const std::function<bool()>& interrupted) {
  const std::string line = text + '\n';
  std::size_t done = 0;
  while (done < line.size()) {
    const auto written = ::write(stdin_, line.data() + done, line.size() - done);
    if (written > 0) {
      done += static_cast<std::size_t>(written);
    } else if (written < 0 && errno == EAGAIN) {
      pollfd waiting{stdin_, POLLOUT, 0};
      ::poll(&waiting, 1, kPollMs);
      if (interrupted && interrupted()) return false;
    } else if (!(written < 0 && errno == EINTR)) {
      return false;
    }
  }
  return true;
}

ReadResult ChildProcess::read_line(double seconds, const std::function<bool()>& interrupted) {
  const auto deadline_ns = now_ns() + static_cast<std::int64_t>(seconds * 1e9);
  std::size_t searched = 0;
  while (true) {
    const auto end = unread_.find('\n', searched);
    if (end != std::string::npos) {
      std::string line = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      return {ReadOutcome::kLine, std::move(line)};
    }
    searched = unread_.size();
    if (interrupted && interrupted()) return {ReadOutcome::kInterrupted, {}};
    if (now_ns() >= deadline_ns) return {ReadOutcome::kTimedOut, {}};
    pollfd waiting{stdout_, POLLIN, 0};
    if (::poll(&waiting, 1, kPollMs) <= 0) continue;
    std::array<char, 65536> buffer;
    const auto count = ::read(stdout_, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      reap(/*wait=*/true);
      return {ReadOutcome::kEnded, {}};
    }
    unread_.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

void ChildProcess::reap(bool wait) noexcept {
  if (process_id_ <= 0 || wait_status_) return;
  // A child that has closed its stdout is about to end; one that doesn't is killed.
  for (int attempt = 0;; ++attempt) {
    int status = 0;
    const auto ended = ::waitpid(process_id_, &status, WNOHANG);
    if (ended == process_id_) wait_status_ = status;
    if (ended != 0 || !wait) return;
    if (attempt == 200) ::kill(-process_id_, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

void ChildProcess::stop(double seconds) noexcept {
  close_fd(stdin_);
  const auto deadline_ns = now_ns() + static_cast<std::int64_t>(seconds * 1e9);
  while (!wait_status_ && process_id_ > 0 && now_ns() < deadline_ns) {
    reap(/*wait=*/false);
    if (!wait_status_) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  kill();
}

void ChildProcess::kill() noexcept {
  if (process_id_ <= 0 || group_killed_) return;
  group_killed_ = true;  // once: later the number may be another group's
  // The group outlives its leader when the child left processes behind.
  ::kill(-process_id_, SIGKILL);
  if (!wait_status_) {
    int status = 0;
    while (::waitpid(process_id_, &status, 0) < 0 && errno == EINTR) {
    }
    wait_status_ = status;
  }
}

std::string ChildProcess::end_description() const {
  if (!wait_status_) return "has not ended";
  if (WIFSIGNALED(*wait_status_)) {
    const int signal = WTERMSIG(*wait_status_);
    return fmt::format("was killed by signal {} ({})", signal, ::strsignal(signal));
  }
  return fmt::format("ended with status {}", WEXITSTATUS(*wait_status_));
}

std::string ChildProcess::stderr_tail(std::size_t max_lines) const {
  const auto size = std::max<off_t>(::lseek(stderr_, 0, SEEK_END), 0);
  const auto begin = std::max<off_t>(size - static_cast<off_t>(kStderrTailBytes), 0);
  std::string text(static_cast<std::size_t>(size - begin), '\0');
  const auto count = ::pread(stderr_, text.data(), text.size(), begin);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  std::vector<std::string> lines;
  for (std::size_t position = 0; position < text.size();) {
    const auto end = std::min(text.find_first_of("\r\n", position), text.size());
    std::string line = text.substr(position, end - position);
    std::replace_if(
        line.begin(), line.end(), [](unsigned char c) { return c < ' '; }, ' ');
    if (line.find_first_not_of(' ') != std::string::npos) lines.push_back(std::move(line));
    position = end + 1;
  }
  if (lines.size() > max_lines) {
    lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(max_lines));
  }
  return fmt::format("{}", fmt::join(lines, " | "));
}

}  // namespace iol::bench
