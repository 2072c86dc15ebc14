#pragma once
// What every sub-command shares: the common options, and how it is added to the program.
#include <CLI/CLI.hpp>

#include <cstdint>
#include <optional>
#include <string>

#include "engine/engine.h"

namespace iol::cli {

/// The options that every command accepts.
struct CommonOptions {
  std::string device = "auto";  // auto, cpu or cuda[:N]
  std::string isa = "auto";
  int num_threads = 0;
  std::uint64_t seed = 0;
  bool json = false;   // one JSON document on stdout, nothing else there
  bool quiet = false;  // no progress
  std::string log_level = "warning";
};

/// Adds the common options to a sub-command.
void add_common_options(CLI::App& command, CommonOptions& options);

/// Refuses what this build can't do (InputError), and returns an engine configuration with the
/// rest.
EngineConfig engine_config(const CommonOptions& options);

/// True when a progress bar should be drawn on stderr.
bool shows_progress(const CommonOptions& options);

/// True once Ctrl-C (SIGINT) or SIGTERM has arrived; long work polls it and stops cleanly.
bool interrupted();

// One per file of this folder. Each sets the command's callback; the callback throws on failure
// (InputError: exit 2, anything else: exit 1) or throws ExitCode.
struct ExitCode {
  int value;
};

}  // namespace iol::cli
