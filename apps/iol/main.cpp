#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <new>
#include <string>
#include <vector>

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

std::vector<std::string> command_names(const CLI::App& program) {
  std::vector<std::string> names;
  for (const auto* command : program.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return names;
}

int run(int argc, char** argv) {
  CLI::App program("iol: what each inference optimization buys for a language model, measured",
                   "iol");
  program.require_subcommand(1);
  program.set_version_flag("--version", IOL_VERSION);
  for (const auto add_command : iol::cli::kCommands) add_command(program);
  const auto names = command_names(program);
  const std::string first = argc > 1 ? argv[1] : "";
  const bool is_command = std::find(names.begin(), names.end(), first) != names.end();
  const bool asks = first == "--help" || first == "-h" || first == "--version";
  if (!is_command && !asks) {
    return fail(2, fmt::format("{}; known: {} (see 'iol --help')",
                               first.empty() ? "no command" : "unknown command '" + first + "'",
                               fmt::join(names, ", ")));
  }
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& request) {  // --help, --version
    return program.exit(request);
  } catch (const CLI::ParseError& error) {
    return fail(
        2, fmt::format("{} (see 'iol {}--help')", error.what(), is_command ? first + " " : ""));
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
