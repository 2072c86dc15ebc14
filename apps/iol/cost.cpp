// iol cost RESULTS|--tok-s X: cost per million tokens, TCO, savings.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "bench/installed_files.h"
#include "command.h"
#include "commands.h"
#include "economics/cost_output.h"
#include "economics/study.h"
#include "report/write_cost_records.h"
#include "results_cost.h"
#include "workload/audit_output.h"

namespace iol::cli {
namespace {

namespace eco = economics;

struct CostOptions {
  CommonOptions common;
  CLI::App* command = nullptr;  // knows which options were given
  std::string results;
  double tok_s = 0;
  double baseline_tok_s = 0;
  double power_w = 0;
  std::string prices;
  std::string hardware = "h100";
  std::string region;
  double usd_per_hour = 0;
  eco::Assumptions assumptions;
  double utilization_percent = 50;
  double rate_percent = 8;
  std::string trace;
  std::string scenario;
  std::int64_t concurrency = 0;
  eco::Budget budget;
  std::string currency = "USD";
  bool study = false;
  bool record = false;

  [[nodiscard]] bool given(const std::string& option) const { return command->count(option) > 0; }
};

/// What CLI11 accepts as a number includes nan and inf; a cost is none of them.
void check_number(const CostOptions& options, const char* option, double value, double low,
                  double high, const char* expected) {
  if (!options.given(option)) return;
  if (!std::isfinite(value) || value < low || value > high) {
    throw_input_error("{} {}: expected {}", option, value, expected);
  }
}

void check_numbers(const CostOptions& options) {
  constexpr double kLargest = 1e12;
  constexpr double kAboveZero = 1e-12;
  const auto check = [&](const char* option, double value, double low, double high,
                         const char* expected) {
    check_number(options, option, value, low, high, expected);
  };
  check("--tok-s", options.tok_s, kAboveZero, kLargest, "output tokens per second, above 0");
  check("--baseline-tok-s", options.baseline_tok_s, kAboveZero, kLargest,
        "output tokens per second, above 0");
  check("--power-w", options.power_w, kAboveZero, kLargest, "watts of all devices, above 0");
  check("--usd-per-hour", options.usd_per_hour, kAboveZero, kLargest,
        "USD per device-hour, above 0");
  check("--devices", options.assumptions.devices, 1, 1e7, "1 to 10,000,000 devices");
  check("--utilization", options.utilization_percent, 0.01, 100, "a percentage, 0.01 to 100");
  check("--rate", options.rate_percent, 0, 1000, "a percentage a year, 0 to 1000");
  check("--years", options.assumptions.years, 0.1, 100, "years, 0.1 to 100");
  check("--operations", options.assumptions.operations_usd_per_hour, 0, kLargest,
        "USD per device-hour, 0 or more");
  check("--monthly-budget", options.budget.monthly, kAboveZero, kLargest,
        "an amount a month, above 0");
  check("--project-cost", options.budget.project_cost, kAboveZero, kLargest, "an amount, above 0");
}

void check_combinations(const CostOptions& options) {
  const bool has_results = !options.results.empty();
  if (has_results == options.given("--tok-s")) {
    throw_input_error("give either a results folder or --tok-s{}",
                      has_results ? ", not both" : "; 'iol cost --help' shows examples");
  }
  for (const char* option : {"--baseline-tok-s", "--power-w"}) {
    if (has_results && options.given(option)) {
      throw_input_error("{}: goes with --tok-s; the results folder has its own", option);
    }
  }
  for (const char* option : {"--scenario", "--concurrency", "--record"}) {
    if (!has_results && options.given(option)) {
      throw_input_error("{}: goes with a results folder", option);
    }
  }
  if (options.given("--trace") && options.given("--utilization")) {
    throw_input_error("--utilization: --trace says it already; give one of the two");
  }
  if (options.given("--project-cost") && !options.given("--monthly-budget")) {
    throw_input_error("--project-cost: needs --monthly-budget, which it is paid back from");
  }
}

eco::PriceFile load_prices(const CostOptions& options) {
  if (!options.prices.empty()) return eco::load_price_file(options.prices, eco::today());
  const auto shipped = bench::find_installed_file("economics/prices.toml");
  if (!shipped) {
    throw_input_error(
        "economics/prices.toml: not found beside this program; give a price file with --prices");
  }
  return eco::load_price_file(*shipped, eco::today());
}

void take_given(const CostOptions& options, eco::CostQuestion& question) {
  const std::optional<double> power =
      options.given("--power-w") ? std::optional(options.power_w) : std::nullopt;
  if (options.given("--baseline-tok-s")) {
    question.subjects.push_back({"baseline", "baseline", options.baseline_tok_s, power});
  }
  question.subjects.push_back({"given", "given", options.tok_s, power});
}

/// The utilization that a trace's traffic gives, sized for its busiest hour or minute.
double utilization_of_trace(const std::string& path) {
  const auto trace = open_trace(path, {});
  const auto utilization = utilization_of(audit_trace(*trace, path, {}));
  if (!utilization) {
    throw_input_error(
        "--trace {}: it has no times, so that its peak is unknown; give --utilization", path);
  }
  return utilization->share;
}

/// The options whose defaults an answer rests on.
std::vector<std::string> assumed_options(const CostOptions& options) {
  std::vector<std::string> assumed;
  for (const char* option : {"--utilization", "--hardware", "--region", "--years", "--rate",
                             "--operations", "--devices"}) {
    if (!options.given(option)) assumed.emplace_back(option);
  }
  if (!options.trace.empty()) std::erase(assumed, "--utilization");
  return assumed;
}

void choose_hardware(const CostOptions& options, const eco::PriceFile& prices,
                     eco::CostQuestion& question) {
  if (options.given("--usd-per-hour")) question.given_usd_per_device_hour = options.usd_per_hour;
  const bool only_given = options.given("--usd-per-hour") && !options.given("--hardware");
  if (!options.results.empty() && !options.given("--hardware") && !only_given) {
    std::vector<std::string> names;
    for (const auto& device : prices.devices) names.push_back(device.name);
    throw_input_error(
        "{}: say what the results were measured on: --hardware {}, or --usd-per-hour for its price",
        options.results, fmt::join(names, "|"));
  }
  if (only_given) return;
  question.device = &prices.device(options.hardware);
  question.region =
      options.region.empty() ? &prices.regions.front() : &prices.region(options.region);
}

void print(const CostOptions& options, const eco::CostQuestion& question,
           const eco::CostAnswer& answer) {
  const auto assumed = assumed_options(options);
  if (options.common.json) {
    fmt::print("{}\n", eco::cost_json(question, answer, assumed)
                           .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    fmt::print("{}", eco::cost_text(question, answer, eco::today(), assumed));
  }
}

void cost(CostOptions& options) {
  check_numbers(options);
  const eco::PriceFile prices = load_prices(options);
  if (options.study) {
    if (!options.results.empty() || options.given("--tok-s")) {
      throw_input_error("--study: computes the study's own examples; give no results or --tok-s");
    }
    const auto claims = eco::study_claims(prices);
    if (options.common.json) {
      fmt::print("{}\n", eco::study_json(claims).dump());
    } else {
      fmt::print("{}", eco::study_text(claims, prices));
    }
    return;
  }
  check_combinations(options);
  eco::CostQuestion question;
  question.prices = &prices;
  options.assumptions.utilization = options.trace.empty() ? options.utilization_percent / 100
                                                          : utilization_of_trace(options.trace);
  options.assumptions.yearly_rate = options.rate_percent / 100;
  question.assumptions = options.assumptions;
  question.currency = options.currency;
  static_cast<void>(prices.usd_per(options.currency));  // refuses an unknown one
  choose_hardware(options, prices, question);
  if (options.given("--monthly-budget")) question.budget = options.budget;
  std::filesystem::path folder;
  if (options.results.empty()) {
    take_given(options, question);
  } else {
    const report::MeasuredRun run = report::read_summary(options.results);
    folder = run.file.parent_path();
    take_measurements(run, {options.scenario, options.concurrency}, question);
  }
  const eco::CostAnswer answer = eco::answer(question);
  if (options.record) {
    report::write_cost_records(folder, eco::cost_records(question, answer));
    if (!options.common.quiet) fmt::print(stderr, "wrote the costs to {}\n", folder.string());
  }
  print(options, question, answer);
}

void add_options(CLI::App& command, CostOptions& options) {
  command.add_option("results", options.results,
                     "results folder of 'iol bench': throughput and power are read from it");
  command.add_option("--tok-s", options.tok_s, "output tokens per second of all devices together");
  command.add_option("--baseline-tok-s", options.baseline_tok_s,
                     "what it was before: index 100, and savings are against it");
  command.add_option("--power-w", options.power_w, "measured mean power of all devices together");
  command.add_option("--scenario", options.scenario, "the scenario to take from the results");
  command
      .add_option("--concurrency", options.concurrency,
                  "the concurrency to take; the largest that all subjects ran")
      ->check(CLI::Range(1, 1 << 30));
  command.add_option("--hardware", options.hardware, "a device of the price file")
      ->capture_default_str();
  command.add_option("--region", options.region,
                     "a region of the price file; the first one when left out");
  command.add_option("--devices", options.assumptions.devices, "devices that reach the throughput")
      ->capture_default_str();
  command.add_option("--usd-per-hour", options.usd_per_hour,
                     "a price of your own, USD per device-hour");
  command
      .add_option("--utilization", options.utilization_percent,
                  "percent of the paid hours at this throughput")
      ->capture_default_str();
  command.add_option("--trace", options.trace,
                     "a trace of requests that the utilization is taken from, as 'iol audit' does");
  command.add_option("--years", options.assumptions.years, "over which capital is paid back")
      ->capture_default_str();
  command.add_option("--rate", options.rate_percent, "of capital, percent a year")
      ->capture_default_str();
  command
      .add_option("--operations", options.assumptions.operations_usd_per_hour,
                  "staff and maintenance of owned devices, USD per device-hour")
      ->capture_default_str();
  command.add_option("--monthly-budget", options.budget.monthly,
                     "spent a month today, in --currency: shows the yearly saving");
  command.add_option("--project-cost", options.budget.project_cost,
                     "spent once for the change, in --currency: shows the payback");
  command.add_option("--currency", options.currency, "that amounts are shown in")
      ->capture_default_str();
  command.add_option("--prices", options.prices, "price file (TOML) instead of the shipped one");
  command.add_flag("--record", options.record,
                   "also write cost records into the results, and its report anew");
  command.add_flag("--study", options.study, "compute the study's own examples again");
}

}  // namespace

void add_cost_command(CLI::App& program) {
  auto options = std::make_shared<CostOptions>();
  CLI::App& command = *program.add_subcommand("cost", "cost per million tokens, TCO, savings");
  options->command = &command;
  add_options(command, *options);
  add_common_options(command, options->common);
  command.footer(
      "Examples:\n"
      "  iol cost results/monday --hardware h100 --devices 1 --utilization 60\n"
      "  iol cost results/monday --usd-per-hour 0.20 --record\n"
      "  iol cost --tok-s 2723 --baseline-tok-s 864 --hardware h100 --region eu --currency EUR\n"
      "  iol cost --tok-s 9000 --baseline-tok-s 5400 --monthly-budget 10000 --currency EUR\n"
      "  iol cost --study");
  command.callback([options] { cost(*options); });
}

}  // namespace iol::cli
