// iol compare BASE NEW [--fail-on METRIC>PCT]: paired comparison with intervals; a gate for CI.
#include "report/compare.h"

#include <fmt/format.h>

#include <memory>

#include "base/error.h"
#include "command.h"
#include "commands.h"
#include "report/subject_part.h"

namespace iol::cli {
namespace {

struct CompareArguments {
  CommonOptions common;
  std::string base;
  std::string next;
  std::vector<std::string> between;  // two subjects of one folder
  std::vector<std::string> fail_on;
  std::string subject;
  std::string scenario;
  std::int64_t concurrency = 0;
};

constexpr int kGateFailed = 3;

report::CompareResult compare_asked(const CompareArguments& arguments,
                                    report::CompareOptions options) {
  const report::Records base = report::read_records(arguments.base);
  if (arguments.between.empty()) {
    if (arguments.next.empty()) {
      throw_input_error("compare: give two results folders, or one and --between SUBJECT,SUBJECT");
    }
    return report::compare(base, report::read_records(arguments.next), options);
  }
  if (!arguments.next.empty() || options.subject || arguments.between.size() != 2) {
    throw_input_error(
        "--between: takes two subjects of one results folder: iol compare FOLDER --between "
        "BASE,NEW");
  }
  const std::string& from = arguments.between[0];
  const std::string& to = arguments.between[1];
  const std::string name = to + " over " + from;
  options.are_interleaved = true;
  return report::compare(report::subject_part(base, from, name),
                         report::subject_part(base, to, name), options);
}

void run_compare(const CompareArguments& arguments) {
  report::CompareOptions options;
  for (const std::string& text : arguments.fail_on)
    options.gates.push_back(report::parse_gate(text));
  if (!arguments.subject.empty()) options.subject = arguments.subject;
  if (!arguments.scenario.empty()) options.scenario = arguments.scenario;
  if (arguments.concurrency != 0) options.concurrency = arguments.concurrency;
  options.seed = arguments.common.seed;
  const report::CompareResult result = compare_asked(arguments, options);
  if (arguments.common.json) {
    fmt::print("{}\n", report::compare_json(result).dump());
  } else {
    fmt::print("{}", report::compare_text(result));
  }
  if (result.failed()) throw ExitCode{kGateFailed};
}

}  // namespace

void add_compare_command(CLI::App& program) {
  auto arguments = std::make_shared<CompareArguments>();
  CLI::App& command =
      *program.add_subcommand("compare", "paired comparison of two results folders; a gate for CI");
  command.add_option("base", arguments->base, "results folder to compare with")->required();
  command.add_option("new", arguments->next, "results folder that is judged");
  command
      .add_option("--between", arguments->between,
                  "BASE,NEW: two subjects of one results folder, which were interleaved")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      .add_option(
          "--fail-on", arguments->fail_on,
          "METRIC>PCT%: exit 3 when METRIC is worse by more, beyond its interval; repeatable")
      ->allow_extra_args(false);
  command.add_option("--subject", arguments->subject, "only this subject");
  command.add_option("--scenario", arguments->scenario, "only this scenario");
  command.add_option("--concurrency", arguments->concurrency, "only this concurrency")
      ->check(CLI::Range(1, 1 << 30));
  add_common_options(command, arguments->common);
  command.footer(
      "Examples:\n"
      "  iol compare results/monday results/tuesday\n"
      "  iol compare results/main results/branch --fail-on 'tpot_p99>3%' --fail-on "
      "'throughput>2%'\n"
      "  iol compare results/main results/branch --subject iol --concurrency 16 --json\n"
      "  iol compare results/both --between pytorch-eager,iol --fail-on 'e2e_p50>0%'");
  command.callback([arguments] { run_compare(*arguments); });
}

}  // namespace iol::cli
