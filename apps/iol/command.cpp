#include "command.h"

#include <unistd.h>

#include <csignal>

#include "base/error.h"

namespace iol::cli {
namespace {
volatile std::sig_atomic_t interrupt_count = 0;
}

void add_common_options(CLI::App& command, CommonOptions& options) {
  command.add_option("--device", options.device, "auto, cpu or cuda[:N]")->capture_default_str();
  command
      .add_option("--isa", options.isa, "CPU kernels: auto, portable, avx2, avx512 or avx512-bf16")
      ->capture_default_str();
  command
      .add_option("--threads", options.num_threads,
                  "threads; 0: what affinity mask and cgroup quota allow")
      ->check(CLI::Range(0, 1024));
  command.add_option("--seed", options.seed, "seed of everything random")->capture_default_str();
  command.add_flag("--json", options.json, "one JSON document on stdout and nothing else there");
  command.add_flag("--quiet", options.quiet, "no progress, no notes");
  command.add_option("--log-level", options.log_level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str();
}

EngineConfig engine_config(const CommonOptions& options) {
  if (options.device.starts_with("cuda")) {
    throw_input_error("--device {}: this build has no CUDA backend; use --device cpu",
                      options.device);
  }
  if (options.device != "auto" && options.device != "cpu") {
    throw_input_error("--device {}: expected auto, cpu or cuda[:N]", options.device);
  }
  EngineConfig config;
  if (options.isa != "auto") {
    const auto isa = parse_isa(options.isa);
    if (!isa) {
      throw_input_error("--isa {}: expected auto, portable, avx2, avx512 or avx512-bf16",
                        options.isa);
    }
    config.isa = isa;
  }
  config.num_threads = options.num_threads;
  config.seed = options.seed;
  return config;
}

bool shows_progress(const CommonOptions& options) {
  return !options.quiet && ::isatty(STDERR_FILENO) == 1;
}

bool interrupted() { return interrupt_count > 0; }

void install_interrupt_handler() {
  struct sigaction action {};
  action.sa_handler = [](int signal) {
    // The first one asks to stop cleanly; the second stops at once.
    if (interrupt_count > 0) ::_exit(128 + signal);
    interrupt_count = interrupt_count + 1;
  };
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

}  // namespace iol::cli
