#pragma once
// The program as a user runs it: through a shell, with both of its outputs.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace iol {

struct Outcome {
  int exit_code = -1;  // -1: killed by a signal
  std::string out;
  std::string error;
};

/// `environment` is put before the command: "HF_HOME=/nowhere", "ulimit -v 100000;".
inline Outcome run_iol(const std::string& arguments, const std::string& environment = "") {
  std::string error_file = "/tmp/iol_test_XXXXXX";
  ::close(::mkstemp(error_file.data()));
  const std::string command = environment + " " IOL_BINARY " " + arguments + " 2>" + error_file;
  Outcome outcome;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> buffer{};
  while (const auto count = std::fread(buffer.data(), 1, buffer.size(), pipe))
    outcome.out.append(buffer.data(), count);
  const int status = ::pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  std::ostringstream error;
  error << std::ifstream(error_file).rdbuf();
  outcome.error = error.str();
  ::unlink(error_file.c_str());
  return outcome;
}

}  // namespace iol
