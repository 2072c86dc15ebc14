#include "command.h"

#include <unistd.h>

#include <csignal>
#include <ctime>

#include "base/error.h"
#include "engine/device_backend.h"

namespace iol::cli {
namespace {
volatile std::sig_atomic_t is_interrupted = 0;
std::int64_t interrupt_ns = 0;  // touched by the handler alone
}  // namespace

void add_common_options(CLI::App& command, CommonOptions& options) {
  command.add_option("--device", options.device, "auto, cpu or cuda[:N]")->capture_default_str();
  command.add_option("--isa", options.isa, "CPU kernels: auto, " + isa_choices())
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
  const auto device = parse_device(options.device);
  if (!device) throw_input_error("--device {}: expected auto, cpu or cuda[:N]", options.device);
  EngineConfig config;
  // Who names CPU kernels wants the CPU.
  const bool names_cpu = device->kind == DeviceKind::kAuto && options.isa != "auto";
  config.device = names_cpu ? Device{DeviceKind::kCpu, 0} : resolve_device(*device);
  if (options.isa != "auto") {
    const auto isa = parse_isa(options.isa);
    if (!isa) {
      throw_input_error("--isa {}: expected auto, {}", options.isa, isa_choices());
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

bool interrupted() { return is_interrupted != 0; }

void install_interrupt_handler() {
  struct sigaction action {};
  action.sa_handler = [](int signal) {
    // The first one asks to stop cleanly; the second stops at once. Tools that run us signal the
    // process and then its group, so one that follows within 200 ms is the first one again.
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const std::int64_t now_ns = now.tv_sec * 1'000'000'000 + now.tv_nsec;
    if (is_interrupted != 0 && now_ns - interrupt_ns > 200'000'000) ::_exit(128 + signal);
    if (is_interrupted == 0) interrupt_ns = now_ns;
    is_interrupted = 1;
  };
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ,
           SIG_IGN);  // a limit on the size of files is an error of write(), as a full disk
}

}  // namespace iol::cli
