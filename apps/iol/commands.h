#pragma once
// The table of sub-commands: name, and the function in the file of that name that adds it.
#include <array>

namespace CLI {
class App;
}

namespace iol::cli {

void add_doctor_command(CLI::App& program);    // doctor.cpp
void add_generate_command(CLI::App& program);  // generate.cpp
void add_eval_command(CLI::App& program);      // eval.cpp
void add_build_command(CLI::App& program);     // build.cpp
void add_plan_command(CLI::App& program);      // plan.cpp
void add_bench_command(CLI::App& program);     // bench.cpp
void add_report_command(CLI::App& program);    // report.cpp
void add_audit_command(CLI::App& program);     // audit.cpp
void add_compare_command(CLI::App& program);   // compare.cpp
void add_cost_command(CLI::App& program);      // cost.cpp

using AddCommand = void (*)(CLI::App& program);
inline constexpr std::array kCommands{add_doctor_command, add_generate_command, add_eval_command,
                                      add_build_command,  add_plan_command,     add_bench_command,
                                      add_report_command, add_audit_command,    add_compare_command,
                                      add_cost_command};

}  // namespace iol::cli
