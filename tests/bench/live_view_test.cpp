// The view of a running bench on a terminal: what it shows, and what it leaves behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <functional>
#include <regex>
#include <string>
#include <vector>

namespace iol::bench {
namespace {

using ::testing::HasSubstr;

constexpr unsigned short kColumns = 60;

/// What a terminal shows after `output`: carriage return, line feed, erase to the end of the line,
/// one line up. Anything else that is no text fails.
std::vector<std::string> screen(const std::string& output) {
  std::vector<std::string> lines(1);
  std::size_t row = 0;
  std::size_t column = 0;
  for (std::size_t i = 0; i < output.size(); ++i) {
    const char c = output[i];
    if (c == '\r') {
      column = 0;
    } else if (c == '\n') {
      if (++row == lines.size()) lines.emplace_back();
    } else if (output.compare(i, 3, "\x1b[K") == 0) {
      lines[row].resize(std::min(lines[row].size(), column));
      i += 2;
    } else if (output.compare(i, 4, "\x1b[1A") == 0) {
      row -= row > 0 ? 1 : 0;
      i += 3;
    } else {
      EXPECT_GE(static_cast<unsigned char>(c), 0x20) << "an unexpected control character";
      lines[row].resize(std::max(lines[row].size(), column + 1), ' ');
      lines[row][column++] = c;
      EXPECT_LE(column, kColumns) << "the line would wrap: " << lines[row];
      if (column > kColumns) return lines;
    }
  }
  return lines;
}

struct TerminalRun {
  std::string output;
  int status = -1;
};

/// Runs iol with a terminal for stderr, and interrupts it once `is_enough`.
TerminalRun run_on_terminal(std::vector<std::string> arguments,
                            const std::function<bool(const std::string&)>& is_enough) {
  winsize size{24, kColumns, 0, 0};
  int terminal = -1;
  std::vector<char*> words;
  for (auto& argument : arguments) words.push_back(argument.data());
  words.push_back(nullptr);
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
  if (child == 0) {
    ::execv(IOL_BINARY, words.data());
    ::_exit(127);
  }
  TerminalRun run;
  std::array<char, 4096> buffer{};
  bool is_interrupted = false;
  while (true) {
    const auto count = ::read(terminal, buffer.data(), buffer.size());
    if (count <= 0) break;  // the end of a terminal is an error
    run.output.append(buffer.data(), static_cast<std::size_t>(count));
    if (!is_interrupted && is_enough(run.output)) {
      is_interrupted = true;
      ::kill(child, SIGINT);
    }
  }
  ::waitpid(child, &run.status, 0);
  ::close(terminal);
  return run;
}

class LiveViewOnTerminal : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_ =
      std::filesystem::path(::testing::TempDir()) / ("live_view_" + std::to_string(::getpid()));
};

TEST_F(LiveViewOnTerminal, shows_what_is_under_way_and_leaves_nothing_when_interrupted) {
  const std::regex state(R"([\d,]+ tokens/s  [1-4] running  \d+ waiting  KV cache \d+ %)");
  const auto run = run_on_terminal(
      {"iol", "bench", "demo", "--engines", "iol", "--scenario", "throughput", "--concurrency", "4",
       "--repeat", "10000", "--requests", "40", "-o", folder_.string()},
      [&](const std::string& output) {
        return std::regex_search(output, state) || output.size() > (1 << 20);
      });
  EXPECT_TRUE(std::regex_search(run.output, state)) << run.output;
  EXPECT_THAT(run.output, HasSubstr("iol throughput x4, "));
  ASSERT_TRUE(WIFEXITED(run.status));
  EXPECT_EQ(WEXITSTATUS(run.status), 130);
  // The last words stand where the view was; nothing of it is left.
  const auto cut = run.output.find("interrupted; ");
  ASSERT_NE(cut, std::string::npos);
  for (const auto& line : screen(run.output.substr(0, cut))) EXPECT_EQ(line, "");
}

}  // namespace
}  // namespace iol::bench
