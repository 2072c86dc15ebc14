#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <new>

#include "base/error.h"
#include "command.h"
#include "commands.h"

namespace iol::cli {
void install_interrupt_handler();
}

namespace {

/// One line on stderr, whatever the message holds.
int fail(int exit_code, std::string_view message) {
  fmt::print(stderr, "iol: {}\n", message);
  return exit_code;
}

int run(int argc, char** argv) {
  CLI::App program("iol: what each inference optimization buys for a language model, measured",
                   "iol");
  program.require_subcommand(1);
  program.set_version_flag("--version", IOL_VERSION);
  for (const auto add_command : iol::cli::kCommands) add_command(program);
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& request) {  // --help, --version
    return program.exit(request);
  } catch (const CLI::ParseError& error) {
    return fail(2, fmt::format("{} (see 'iol {} --help')", error.what(),
                               argc > 1 && argv[1][0] != '-' ? argv[1] : ""));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  iol::cli::install_interrupt_handler();
  try {
    return run(argc, argv);
  } catch (const iol::cli::ExitCode& exit_code) {
    return exit_code.value;
  } catch (const iol::InputError& error) {
    return fail(2, error.what());
  } catch (const std::bad_alloc&) {
    return fail(1, "out of memory; 'iol plan' says what a run needs");
  } catch (const std::exception& error) {
    return fail(1, error.what());
  }
}
