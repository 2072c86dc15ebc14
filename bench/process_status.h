#pragma once
// What the kernel says about a process: its memory and its processor time.
#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace iol::bench {

/// Absent means it could not be read (the process has ended, or there is no /proc).
struct ProcessStatus {
  std::optional<std::int64_t> resident_bytes;  // VmRSS: anonymous, file-backed and shared pages
  std::optional<std::int64_t> peak_resident_bytes;  // VmHWM: its highest value so far
  std::optional<std::int64_t> anonymous_bytes;      // RssAnon: what no file backs
  std::optional<double> processor_seconds;          // user and system time of all its threads
};

/// 0 is this process.
ProcessStatus read_process_status(pid_t process_id);

}  // namespace iol::bench
