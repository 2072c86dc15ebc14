#include "bench/process_status.h"

#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "base/error.h"

namespace iol::bench {
namespace {

std::string process_folder(pid_t process_id) {
  return process_id == 0 ? "/proc/self" : fmt::format("/proc/{}", process_id);
}

void read_memory(const std::string& folder, ProcessStatus& status) {
  std::ifstream file(folder + "/status");
  for (std::string line; std::getline(file, line);) {
    const auto kilobytes_after = [&](std::string_view label) -> std::optional<std::int64_t> {
      if (!line.starts_with(label)) return std::nullopt;
      std::istringstream rest(line.substr(label.size()));
      std::int64_t kilobytes = 0;
      if (!(rest >> kilobytes)) return std::nullopt;
      return kilobytes * 1024;
    };
    if (const auto bytes = kilobytes_after("VmRSS:")) status.resident_bytes = bytes;
    if (const auto bytes = kilobytes_after("VmHWM:")) status.peak_resident_bytes = bytes;
    if (const auto bytes = kilobytes_after("RssAnon:")) status.anonymous_bytes = bytes;
  }
}

void read_processor_time(const std::string& folder, ProcessStatus& status) {
  std::ifstream file(folder + "/stat");
  std::string text;
  std::getline(file, text);
  // The name in parentheses may hold anything; the fields that follow are numbers (proc(5)).
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos) return;
  std::istringstream fields(text.substr(name_end + 1));
  std::string state;
  fields >> state;
  std::int64_t skipped = 0;
  for (int field = 4; field <= 13; ++field) fields >> skipped;
  std::int64_t user_ticks = 0;
  std::int64_t system_ticks = 0;
  if (!(fields >> user_ticks >> system_ticks)) return;
  status.processor_seconds =
      static_cast<double>(user_ticks + system_ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

ProcessStatus read_process_status(pid_t process_id) {
  const auto folder = process_folder(process_id);
  ProcessStatus status;
  read_memory(folder, status);
  read_processor_time(folder, status);
  return status;
}

}  // namespace iol::bench
