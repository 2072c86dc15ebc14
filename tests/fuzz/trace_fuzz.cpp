// open_trace() and audit_trace(): bad input is an InputError of one line; what is accepted is
// audited.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "workload/advice.h"
#include "workload/audit.h"
#include "workload/audit_output.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Traces are read from files; this one is in memory.
  static const int file = ::memfd_create("trace", 0);
  if (file < 0 || ::ftruncate(file, 0) != 0) std::abort();
  if (::pwrite(file, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  try {
    const auto trace = iol::open_trace(path, {.latest_ns = 1'782'864'000'000'000'000});
    const auto workload = iol::audit_trace(*trace, "fuzz", {.max_block_ids = 64});
    const auto advice = iol::advise(workload, iol::ModelBytes{"m", 1e6, 5e5, 3e5, 500, 260});
    if (iol::audit_text(workload, advice).empty()) std::abort();
    static_cast<void>(iol::audit_json(workload, advice).dump());
  } catch (const iol::InputError& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
