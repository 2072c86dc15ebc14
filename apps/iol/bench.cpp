// `iol bench`: run subjects over a load and write a results folder.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>

#include "backend/kv_format.h"
#include "base/error.h"
#include "bench/bench.h"
#include "bench/engine_child.h"
#include "bench/iol_subject.h"
#include "bench/slo.h"
#include "command.h"
#include "engine_options.h"
#include "report/report.h"
#include "results_cost.h"

namespace iol::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  iol bench demo                                   PyTorch and iol on the demo model
  iol bench demo --engines iol --scenario latency  one stream of ours alone
  iol bench synthetic:tinyllama-1.1b --concurrency 1,8,32 --repeat 6
  iol bench demo --scenario load --rate 2,5,10 --slo ttft=300ms,tpot=30ms
  iol bench demo --scenario load --trace trace.csv --speed 4 --duration 60
  iol bench FOLDER --engines pytorch,iol,openai:http://localhost:8000,vllm
  iol bench demo --scenario sweep --slo llama3.1-8b-interactive
  iol bench demo --ladder                          what each lever buys, one rung at a time
  iol bench FOLDER --input-tokens uniform:50:150 --output-tokens 200 -o results/mine)";

// A ladder without objectives of the user's shows goodput under these.
constexpr const char* kLadderSlo = "llama3.1-8b-interactive";

/// What the command line says, as text; turned into bench::BenchOptions when it runs.
struct BenchArguments {
  CLI::App* command = nullptr;  // knows which options were given
  EngineOptions engine;
  std::string model;
  std::vector<std::string> engines;
  std::vector<std::string> scenarios;
  std::string input_tokens;
  std::string output_tokens;
  std::vector<int> concurrencies;
  std::int64_t num_requests = 0;
  int num_repetitions = 6;
  int num_warm_ups = 1;
  std::string slo;
  double timeout_s = 1800;
  bool traces_steps = false;
  std::vector<double> slow_steps_percent;
  double usd_per_hour = 0;
  bool ladder = false;
  int kv_sequences = 0;
  std::vector<double> rates;
  std::string arrival = "poisson";
  std::string trace;
  double speed = 1;
  double duration_s = 30;
  bench::ServerOptions servers;
  std::string output_folder;
  std::string engine_child;
};

/// The quantized rungs; refuses options that the rungs decide.
bench::LadderOptions ladder_options(const BenchArguments& arguments) {
  for (const char* option : {"--scheduler", "--kv-allocation", "--prefix-cache",
                             "--kv-cache-tokens", "--preemption-mode"}) {
    if (arguments.command->count(option) > 0) {
      throw_input_error("{}: --ladder sets it, rung by rung; leave one of the two out", option);
    }
  }
  bench::LadderOptions ladder;
  ladder.kv_sequences = arguments.kv_sequences;
  const EngineConfig asked = engine_config(arguments.engine, arguments.model);
  if (arguments.engine.quant_is_given) {
    ladder.quant = asked.quant;
    if (asked.quant.format == WeightFormat::kNone) {
      throw_input_error(
          "--quant none: --ladder has a rung for it already; name a quantized format");
    }
  } else {
    ladder.quant.group_size = asked.quant.group_size;
    ladder.quant.head = asked.quant.head;
    ladder.quant.keep = asked.quant.keep;
  }
  if (asked.kv_dtype) {
    ladder.kv_dtype = *asked.kv_dtype;
    if (!is_quantized_kv(*asked.kv_dtype)) {
      throw_input_error("--kv-cache {}: --ladder has rungs for it already; int8 or fp8",
                        arguments.engine.kv_cache);
    }
  }
  return ladder;
}

std::vector<std::string> command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
  return words;
}

void refuse_without(const BenchArguments& arguments, const char* option, const char* needed) {
  if (arguments.command->count(option) == 0) return;
  throw_input_error("{}: goes with {}; leave it out, or add that", option, needed);
}

/// Arrivals, and the trace that lengths or arrivals are taken from.
void take_open_loop(const BenchArguments& arguments, bench::BenchOptions& options) {
  auto& scenario = options.scenario;
  const auto has = [&](const char* name) {
    const auto& all = scenario.scenarios;
    return std::find(all.begin(), all.end(), name) != all.end();
  };
  const bool is_open = has("load") || has("sweep");
  for (const char* option : {"--rate", "--arrival", "--duration"}) {
    if (!is_open) refuse_without(arguments, option, "--scenario load or sweep");
  }
  if (arguments.trace.empty()) {
    refuse_without(arguments, "--speed", "--trace");
    if (arguments.input_tokens == "trace" || arguments.output_tokens == "trace") {
      throw_input_error("--input-tokens trace, --output-tokens trace: which one? Give --trace");
    }
  } else {
    options.trace = arguments.trace;
    for (const auto* lengths : {&arguments.input_tokens, &arguments.output_tokens}) {
      if (!lengths->empty() && *lengths != "trace") {
        throw_input_error("--trace: brings the lengths; leave --input-tokens, --output-tokens out");
      }
    }
  }
  if (!arguments.rates.empty() && arguments.command->count("--speed") > 0) {
    throw_input_error("--speed: of the trace's own times, which --rate replaces; leave one out");
  }
  if (!std::isfinite(arguments.speed) || arguments.speed < 1e-3 || arguments.speed > 1e6) {
    throw_input_error("--speed {}: expected 0.001 to 1000000", arguments.speed);
  }
  scenario.arrival = ArrivalProcess::parse(arguments.arrival, "--arrival");
  scenario.rates_req_s = arguments.rates;
  scenario.duration_s = arguments.duration_s;
  scenario.trace_speed = arguments.speed;
}

bench::BenchOptions bench_options(const BenchArguments& arguments) {
  bench::BenchOptions options;
  options.model = arguments.model;
  if (!arguments.engines.empty()) options.engines = arguments.engines;
  auto& scenario = options.scenario;
  if (arguments.kv_sequences != 0 && !arguments.ladder) {
    throw_input_error("--kv-sequences: goes with --ladder; alone, use --kv-cache-tokens");
  }
  if (!arguments.slow_steps_percent.empty() && arguments.ladder) {
    throw_input_error("--slow-steps: not with --ladder, which measures the levers");
  }
  if (arguments.ladder) {
    scenario = bench::ladder_scenario();
    options.ladder = ladder_options(arguments);
  }
  if (!arguments.scenarios.empty()) scenario.scenarios = arguments.scenarios;
  take_open_loop(arguments, options);
  if (!arguments.concurrencies.empty()) scenario.concurrencies = arguments.concurrencies;
  if (arguments.num_requests != 0) scenario.num_requests = arguments.num_requests;
  if (!arguments.input_tokens.empty() && arguments.trace.empty()) {
    scenario.input_tokens = LengthDistribution::parse(arguments.input_tokens, "--input-tokens");
  }
  if (!arguments.output_tokens.empty() && arguments.trace.empty()) {
    scenario.output_tokens = LengthDistribution::parse(arguments.output_tokens, "--output-tokens");
  }
  scenario.num_repetitions = arguments.num_repetitions;
  scenario.num_warm_ups = arguments.num_warm_ups;
  scenario.seed = arguments.engine.common.seed;
  options.engine = engine_config(arguments.engine, arguments.model);
  if (!arguments.slo.empty()) options.slo = bench::parse_slo(arguments.slo);
  if (arguments.slo.empty() && arguments.ladder) options.slo = bench::parse_slo(kLadderSlo);
  options.output_folder = arguments.output_folder.empty()
                              ? bench::default_output_folder(arguments.model)
                              : std::filesystem::path(arguments.output_folder);
  options.command = command_line();
  options.traces_steps = arguments.traces_steps;
  if (!arguments.slow_steps_percent.empty()) {
    options.slow_steps = arguments.slow_steps_percent;
    for (double& share : options.slow_steps) share /= 100;
  }
  options.servers = arguments.servers;
  if (const char* key = std::getenv("OPENAI_API_KEY")) options.servers.api_key = key;
  options.silence_seconds = arguments.timeout_s;
  options.shows_progress = shows_progress(arguments.engine.common);
  options.interrupted = interrupted;
  const bool quiet = arguments.engine.common.quiet;
  options.note = [quiet](const std::string& text) {
    if (!quiet) fmt::print(stderr, "note: {}\n", text);
  };
  return options;
}

void print_result(const BenchArguments& arguments, const std::filesystem::path& folder) {
  if (!arguments.engine.common.json) {
    fmt::print("{}\n", (folder / "report.html").string());
    return;
  }
  std::ifstream summary(folder / "summary.json");
  std::cout << summary.rdbuf() << std::flush;
  if (!std::cout) throw_resource_error("can't write the summary to stdout");
}

void run(const BenchArguments& arguments) {
  if (!arguments.engine_child.empty()) {
    throw ExitCode{
        bench::serve_engine(arguments.engine_child, Engine::create, std::cin, std::cout)};
  }
  if (arguments.model.empty()) {
    throw_input_error("bench: no model is given; try 'iol bench demo'");
  }
  const auto options = bench_options(arguments);
  const auto& folder = options.output_folder;
  if (!bench::run_bench(options)) {
    fmt::print(stderr, "interrupted; the runs that ended are in {}; 'iol report {}' reports them\n",
               (folder / "records.jsonl").string(), folder.string());
    throw ExitCode{130};
  }
  report::write_report(folder, folder);
  if (arguments.usd_per_hour > 0) record_costs(folder, arguments.usd_per_hour);
  print_result(arguments, folder);
}

void add_load_options(CLI::App& command, BenchArguments& arguments) {
  command
      .add_option("--engines", arguments.engines,
                  "pytorch, iol (default: both; without pytorch when it isn't installed), "
                  "openai:URL[,NAME]: any OpenAI-compatible server")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      .add_option("--scenario", arguments.scenarios,
                  "latency: one stream; throughput: several concurrencies (default: both); load: "
                  "requests arrive at --rate, or as in --trace; sweep: the highest rate that meets "
                  "--slo")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--input-tokens", arguments.input_tokens,
                     "length of prompts: 100 (default), uniform:50:150, normal:100:20, "
                     "lognormal:MU:SIGMA");
  command.add_option("--output-tokens", arguments.output_tokens,
                     "length of outputs, likewise (default: 200)");
  command
      .add_option("--requests", arguments.num_requests,
                  "requests per load and repetition (default: twice the concurrency, once from "
                  "32 on)")
      ->check(CLI::Range(1, 1000000));
  command
      .add_option("--concurrency", arguments.concurrencies,
                  "requests under way at a time, for throughput (default: 1,4,16,64)")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      .add_option("--repeat", arguments.num_repetitions,
                  "measured repetitions; 6 are the fewest that give a 95 % interval")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command.add_option("--warmup", arguments.num_warm_ups, "warm-up runs per load")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  command.add_flag("--trace-steps", arguments.traces_steps,
                   "a record for every step of iol; 'iol report --export perfetto' draws them");
  command
      .add_option("--slow-steps", arguments.slow_steps_percent,
                  "for experiments: makes every step of iol so many percent longer, to see whether "
                  "'iol compare' finds it; several (0,0,3): as many engines, interleaved")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(0.0, 1000.0));
  command
      .add_option("--usd-per-hour", arguments.usd_per_hour,
                  "what this machine costs an hour: cost per million tokens in the report")
      ->check(CLI::Range(1e-9, 1e9));
  command.add_option("--slo", arguments.slo,
                     "objectives for goodput: ttft=200ms,tpot=20ms,e2e=2s, or MLPerf's by name: " +
                         bench::slo_preset_names());
}

void add_server_options(CLI::App& command, BenchArguments& arguments) {
  const std::string group = "OpenAI servers (the key is taken from OPENAI_API_KEY)";
  command
      .add_option("--openai-model", arguments.servers.model,
                  "the model's name at the server (default: the first one that it lists)")
      ->group(group);
  command
      .add_option("--request-timeout", arguments.servers.request_timeout_s,
                  "seconds after which a request to a server has failed")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str()
      ->group(group);
}

void add_open_loop_options(CLI::App& command, BenchArguments& arguments) {
  const std::string group = "Load";
  command
      .add_option("--rate", arguments.rates,
                  "requests per second, one or several; of a sweep: where it begins")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->group(group);
  command
      .add_option("--arrival", arguments.arrival,
                  "constant, poisson, gamma:SHAPE (below 1: bursts) or ramp:FROM (requests/s)")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--duration", arguments.duration_s,
                  "seconds over which requests arrive, when --requests doesn't say how many")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--trace", arguments.trace,
                  "lengths and shared prefixes of a trace (see 'iol audit'); without --rate its "
                  "arrivals too")
      ->group(group);
  command.add_option("--speed", arguments.speed, "the trace's time runs so many times as fast")
      ->capture_default_str()
      ->group(group);
}

void add_ladder_options(CLI::App& command, BenchArguments& arguments) {
  const std::string group = "Ladder";
  command
      .add_flag("--ladder", arguments.ladder,
                "PyTorch, then this engine with one lever more per rung: in-flight batching, paged "
                "KV cache, --quant weights (default: int8), --kv-cache (default: int8), --draft "
                "(default: ngram, with demo-draft for demo)")
      ->group(group);
  command
      .add_option("--kv-sequences", arguments.kv_sequences,
                  "with --ladder: sequences of the longest request that the KV memory of every "
                  "rung holds (default: a quarter of the concurrency)")
      ->check(CLI::Range(1, 4096))
      ->group(group);
}

}  // namespace

void add_bench_command(CLI::App& program) {
  auto arguments = std::make_shared<BenchArguments>();
  CLI::App* command = program.add_subcommand(
      "bench", "Compare engines on a model: latency, throughput, memory, with intervals");
  arguments->command = command;
  command->footer(kExamples);
  command->add_option("MODEL", arguments->model,
                      "folder, Hub id in the local cache, demo, or synthetic:NAME");
  add_load_options(*command, *arguments);
  add_server_options(*command, *arguments);
  add_open_loop_options(*command, *arguments);
  add_ladder_options(*command, *arguments);
  command->add_option("-o,--output", arguments->output_folder,
                      "results folder (default: results/<UTC time>-<model>)");
  command
      ->add_option("--timeout", arguments->timeout_s,
                   "seconds without a sign of life after which a subject is given up")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option(bench::kEngineChildOption, arguments->engine_child)->group("");
  arguments->engine.prefix_cache = "off";  // repetitions must not profit from each other
  arguments->engine.max_batch = 0;         // the highest concurrency
  add_engine_options(*command, arguments->engine);
  add_speculation_options(*command, arguments->engine);
  command
      ->add_option("--simulated-acceptance", arguments->engine.simulated_acceptance,
                   "for experiments: accept each draft at this rate (0 to 1), whatever the model "
                   "says; the speed is real, what is generated means nothing")
      ->check(CLI::Range(0.0, 1.0))
      ->group("Engine");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace iol::cli
