#include "bench/child_process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "base/clock.h"
#include "base/error.h"

namespace iol::bench {
namespace {

const std::function<bool()> kNever = [] { return false; };

std::vector<std::string> shell(const std::string& script) { return {"sh", "-c", script}; }

/// A killed process stays visible until its parent has asked for its status: a zombie counts as
/// gone.
bool is_running(pid_t process_id) {
  std::ifstream file("/proc/" + std::to_string(process_id) + "/stat");
  std::string text;
  if (!std::getline(file, text)) return false;
  const auto state = text.find(") ");
  return state != std::string::npos && text[state + 2] != 'Z';
}

bool ends_within_seconds(pid_t process_id, double seconds) {
  const auto deadline_ns = now_ns() + static_cast<std::int64_t>(seconds * 1e9);
  while (is_running(process_id) && now_ns() < deadline_ns) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return !is_running(process_id);
}

TEST(ChildProcess, echoes_lines_of_any_length) {
  ChildProcess child({"cat"});
  // Longer than a pipe holds: both directions have to be served in turn.
  const std::string line(200000, 'x');
  std::thread writer([&] { EXPECT_TRUE(child.write_line(line, kNever)); });
  const auto answer = child.read_line(20, kNever);
  writer.join();
  EXPECT_EQ(answer.outcome, ReadOutcome::kLine);
  EXPECT_EQ(answer.line, line);
  EXPECT_TRUE(child.write_line("", kNever));
  EXPECT_EQ(child.read_line(20, kNever).line, "");
}

TEST(ChildProcess, that_does_not_exist_is_a_clear_error) {
  try {
    ChildProcess child({"/nonexistent/program"});
    FAIL() << "started";
  } catch (const ResourceError& error) {
    EXPECT_STREQ(error.what(), "can't start /nonexistent/program: No such file or directory");
  }
}

TEST(ChildProcess, that_ends_reports_how_and_its_last_words) {
  ChildProcess child(
      shell("echo first >&2; echo second >&2; printf 'third\\033[0m\\r' >&2; exit 7"));
  EXPECT_EQ(child.read_line(20, kNever).outcome, ReadOutcome::kEnded);
  EXPECT_EQ(child.end_description(), "ended with status 7");
  EXPECT_EQ(child.stderr_tail(2), "second | third [0m");
}

TEST(ChildProcess, that_is_killed_reports_the_signal) {
  ChildProcess child(shell("kill -9 $$"));
  EXPECT_EQ(child.read_line(20, kNever).outcome, ReadOutcome::kEnded);
  EXPECT_EQ(child.end_description(), "was killed by signal 9 (Killed)");
}

TEST(ChildProcess, silence_times_out) {
  ChildProcess child({"sleep", "1000"});
  const auto start_ns = now_ns();
  EXPECT_EQ(child.read_line(0.2, kNever).outcome, ReadOutcome::kTimedOut);
  EXPECT_GE(now_ns() - start_ns, 200'000'000);
}

TEST(ChildProcess, waiting_can_be_interrupted) {
  ChildProcess child({"sleep", "1000"});
  int polls = 0;
  const auto answer = child.read_line(1000, [&] { return ++polls > 2; });
  EXPECT_EQ(answer.outcome, ReadOutcome::kInterrupted);
}

TEST(ChildProcess, writing_to_one_that_does_not_read_can_be_interrupted) {
  ChildProcess child({"sleep", "1000"});
  int polls = 0;
  EXPECT_FALSE(child.write_line(std::string(1 << 22, 'x'), [&] { return ++polls > 2; }));
}

TEST(ChildProcess, takes_its_own_children_with_it) {
  pid_t grandchild = 0;
  {
    ChildProcess child(shell("sleep 1000 & echo $!; wait"));
    grandchild = std::stoi(child.read_line(20, kNever).line);
    EXPECT_TRUE(is_running(grandchild));
  }
  EXPECT_TRUE(ends_within_seconds(grandchild, 10));
}

TEST(ChildProcess, stop_lets_it_end_by_itself) {
  ChildProcess child(shell("cat > /dev/null; exit 3"));  // ends with its input
  child.stop(20);
  EXPECT_EQ(child.end_description(), "ended with status 3");
}

TEST(ChildProcess, stop_kills_one_that_does_not_end) {
  ChildProcess child(shell("exec 0<&-; sleep 1000"));
  const auto process_id = child.process_id();
  child.stop(0.1);
  EXPECT_FALSE(is_running(process_id));
}

TEST(ChildProcess, is_in_a_group_of_its_own) {
  ChildProcess child({"cat"});
  EXPECT_EQ(::getpgid(child.process_id()), child.process_id());
  EXPECT_NE(::getpgid(child.process_id()), ::getpgrp());
}

TEST(ChildProcess, dies_with_a_parent_that_is_killed) {
  int report[2];
  ASSERT_EQ(::pipe(report), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    ChildProcess child({"sleep", "1000"});
    const pid_t process_id = child.process_id();
    [[maybe_unused]] const auto written = ::write(report[1], &process_id, sizeof(process_id));
    ::pause();
    ::_exit(0);
  }
  pid_t process_id = 0;
  ASSERT_EQ(::read(report[0], &process_id, sizeof(process_id)), sizeof(process_id));
  EXPECT_TRUE(is_running(process_id));
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  EXPECT_TRUE(ends_within_seconds(process_id, 10));
  ::close(report[0]);
  ::close(report[1]);
}

}  // namespace
}  // namespace iol::bench
