// Speculation: speed over no speculation, beside the speed-up that its cost model predicted, by
// workload, drafter and number of streams. Runs are interleaved; a gain is the median of ratios of
// neighbouring runs.
//
//   speculation_bench speed                   the demo model: the table of docs/speculation.md
//   speculation_bench prediction              the demo model, by simulated acceptance
//   speculation_bench simulated MODEL DRAFT   any model and draft, at one simulated acceptance
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "bench/speculation/speculation_loop.h"
#include "bench/speculation/speculation_workloads.h"
#include "engine/engine.h"

namespace {

using namespace iol;
using namespace iol::bench;

struct Options {
  std::string device = "cpu";
  std::string model;
  std::string draft;
  std::string quant = "none";
  std::string draft_quant = "auto";
  std::string draft_depth = "auto";
  std::vector<std::string> drafts = {"ngram", "demo-draft", "ngram,demo-draft"};
  std::vector<std::string> workloads;  // all
  double acceptance = 0.8;
  int num_repetitions = 5;
  int num_output_tokens = 200;
  bool shows_steps = false;
  bool has_one_engine = false;
  std::vector<int> streams = {1, 4, 16, 64};
};

EngineConfig engine_config(const Options& options, const std::string& draft,
                           std::optional<double> simulated = {}) {
  EngineConfig config;
  config.quant.format = parse_weight_format(options.quant).value();
  const auto device = parse_device(options.device);
  if (!device) throw_input_error("--device {}: expected auto, cpu or cuda[:N]", options.device);
  config.device = *device;
  config.max_context = 768;
  config.prefix_cache = false;
  if (!draft.empty()) config.speculation = parse_draft(draft);
  if (!config.speculation.model.empty()) {
    config.speculation.quant = parse_draft_format(options.draft_quant);
  }
  if (!draft.empty()) config.speculation.depth = parse_draft_depth(options.draft_depth);
  config.speculation.simulated_acceptance = simulated;
  return config;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

template <class Value>
double median_of(const std::vector<SpeculationResult>& results, Value value) {
  std::vector<double> values;
  for (const SpeculationResult& result : results) values.push_back(result.*value);
  return median(std::move(values));
}

void print_header() {
  fmt::print(
      "| workload | streams | draft | tok/s | gain | lowest to highest | predicted | tokens a "
      "step | accepted | depth |\n|---|---|---|---|---|---|---|---|---|---|\n");
}

void print_row(const std::string& workload, int num_streams, const SpeculationSubject& subject) {
  const auto [low, high] = std::ranges::minmax(subject.gains);
  fmt::print(
      "| {} | {} | {} | {:.0f} | {:.2f} | {:.2f} to {:.2f} | {:.2f} | {:.2f} | {:.0f} % | {:.1f} "
      "|\n",
      workload, num_streams, subject.name,
      median_of(subject.results, &SpeculationResult::tokens_per_second), median(subject.gains), low,
      high, median_of(subject.results, &SpeculationResult::predicted),
      median_of(subject.results, &SpeculationResult::tokens_per_step),
      100 * median_of(subject.results, &SpeculationResult::accepted_share),
      median_of(subject.results, &SpeculationResult::mean_depth));
  std::fflush(stdout);
}

/// What a loop's time went to: sums over all repetitions, in milliseconds.
void print_steps(const SpeculationSubject& subject) {
  for (const auto& [kind, sums] : subject.steps) {
    const auto ms = [](std::int64_t ns) { return static_cast<double>(ns) * 1e-6; };
    fmt::print(
        "  {}: {}: {} steps, {:.1f} ms (host {:.1f}, drafting {:.1f}), {} decode, {} draft, {} "
        "accepted, {} prompt tokens\n",
        subject.name, kind, sums.num_steps, ms(sums.duration_ns), ms(sums.host_ns),
        ms(sums.draft_ns), sums.num_decode_tokens, sums.num_draft_tokens, sums.num_accepted_tokens,
        sums.num_prefill_tokens);
  }
}

/// One row for each subject; the first is the plain engine.
void compare(std::vector<SpeculationSubject>& subjects, const SpeculationWorkload& workload,
             const Options& options, int num_streams) {
  for (SpeculationSubject& subject : subjects) {
    subject.results.clear();
    subject.gains.clear();
    subject.steps.clear();
  }
  // A loop ends with its slowest stream: short requests come several times in each.
  constexpr std::size_t kShortRequests = 8;
  const auto count = static_cast<std::size_t>(num_streams == 1 ? 2 : num_streams) *
                     (workload.lengths.empty() ? 1 : kShortRequests);
  std::size_t first = 0;
  for (int repetition = -1; repetition < options.num_repetitions; ++repetition) {
    double plain = 0;
    for (SpeculationSubject& subject : subjects) {
      const SpeculationResult result =
          run_loop(subject, workload, options.num_output_tokens, num_streams, first, count);
      if (&subject == &subjects.front()) plain = result.tokens_per_second;
      if (repetition < 0) {  // warm-up
        subject.steps.clear();
        continue;
      }
      subject.results.push_back(result);
      subject.gains.push_back(result.tokens_per_second / plain);
    }
    first += count;
  }
  for (const SpeculationSubject& subject : subjects) print_row(workload.name, num_streams, subject);
  if (options.shows_steps) std::ranges::for_each(subjects, print_steps);
}

void compare_speed(std::vector<SpeculationSubject>& subjects, const Options& options) {
  const Tokenizer& tokenizer = *subjects.front().engine->tokenizer();
  const Prompts heldout = heldout_prompts(tokenizer);
  std::vector<SpeculationWorkload> workloads = {
      {"prose", heldout},
      {"prose, temperature 1", heldout, 1.0},
      {"repetitive", repetitive_prompts(tokenizer, heldout)},
      {"random tokens", random_prompts(subjects.front().engine->model_config().vocab_size)},
      short_requests(heldout)};
  if (!options.workloads.empty()) {
    std::erase_if(workloads, [&](const SpeculationWorkload& workload) {
      return std::ranges::find(options.workloads, workload.name) == options.workloads.end();
    });
  }
  print_header();
  for (const int num_streams : options.streams) {
    for (const SpeculationWorkload& workload : workloads)
      compare(subjects, workload, options, num_streams);
  }
}

/// One engine, without and with its drafts: both have the device's memory and kernels.
std::vector<SpeculationSubject> subjects_of_one(const std::string& name,
                                                std::shared_ptr<Engine> engine) {
  return {{"none", engine, false}, {name, std::move(engine), true}};
}

/// Engines of their own, where they don't take a GPU from each other: `none` has nothing of
/// speculation then. But where an engine's weights happen to lie in memory may be worth more.
void speed(const Options& options) {
  const std::string none;
  if (options.has_one_engine || engine_config(options, none).device.kind != DeviceKind::kCpu) {
    for (const std::string& draft : options.drafts) {
      auto subjects = subjects_of_one(draft, Engine::create(engine_config(options, draft)));
      compare_speed(subjects, options);
    }
    return;
  }
  std::vector<SpeculationSubject> subjects;
  subjects.push_back({"none", Engine::create(engine_config(options, none))});
  for (const std::string& draft : options.drafts) {
    subjects.push_back({draft, Engine::create(engine_config(options, draft))});
  }
  compare_speed(subjects, options);
}

void prediction(const Options& options) {
  print_header();
  for (const double rate : {0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95}) {
    auto subjects =
        subjects_of_one("demo-draft", Engine::create(engine_config(options, "demo-draft", rate)));
    const SpeculationWorkload workload{fmt::format("SIMULATED acceptance {:g}", rate),
                                       heldout_prompts(*subjects.front().engine->tokenizer())};
    for (const int num_streams : options.streams) {
      compare(subjects, workload, options, num_streams);
    }
  }
}

void simulated(const Options& options) {
  EngineConfig config = engine_config(options, options.draft, options.acceptance);
  config.model = options.model;
  const auto start_ns = now_ns();
  const std::shared_ptr<Engine> engine = Engine::create(config);
  fmt::print("{} ({}), draft {} ({}), on {}; loaded in {:.0f} s\n\n", options.model, options.quant,
             options.draft, options.draft_quant, engine->backend_name(),
             static_cast<double>(now_ns() - start_ns) * 1e-9);
  auto subjects = subjects_of_one(options.draft, engine);
  const SpeculationWorkload workload{fmt::format("SIMULATED acceptance {:g}", options.acceptance),
                                     random_prompts(engine->model_config().vocab_size)};
  print_header();
  for (const int num_streams : options.streams) compare(subjects, workload, options, num_streams);
}

}  // namespace

int main(int argc, char** argv) try {
  Options options;
  CLI::App app("Speculation: speed over no speculation, measured and predicted.");
  app.require_subcommand(1);
  app.add_option("--device", options.device, "auto, cpu or cuda[:N]")->capture_default_str();
  app.add_option("--repetitions", options.num_repetitions)->capture_default_str();
  app.add_option("--output-tokens", options.num_output_tokens)->capture_default_str();
  app.add_flag("--steps", options.shows_steps, "sums over the steps, by kind, below each row");
  app.add_flag("--one-engine", options.has_one_engine,
               "each drafter's engine without drafts is what it is compared with, as on a GPU");
  app.add_option("--streams", options.streams)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  app.add_option("--draft-quant", options.draft_quant, "weights of draft models: auto or a format")
      ->capture_default_str();
  app.add_option("--draft-depth", options.draft_depth, "auto, or 0 to 16")->capture_default_str();
  app.add_option("--quant", options.quant, "weights of the target")
      ->check(CLI::IsMember({"none", "int8", "int8-wo", "fp8", "int4"}))
      ->capture_default_str();
  CLI::App* demo = app.add_subcommand("speed", "the demo model, its drafters and workloads");
  demo->fallthrough()->callback([&] { speed(options); });
  demo->add_option("--draft", options.drafts, "one or more; default: all");
  demo->add_option("--workload", options.workloads, "one or more; default: all")
      ->check(CLI::IsMember(
          {"prose", "prose, temperature 1", "repetitive", "random tokens", "short requests"}));
  app.add_subcommand("prediction", "the demo model, by simulated acceptance")
      ->fallthrough()
      ->callback([&] { prediction(options); });
  CLI::App* any = app.add_subcommand("simulated", "any model and draft, at a simulated acceptance");
  any->fallthrough()->callback([&] { simulated(options); });
  any->add_option("MODEL", options.model)->required();
  any->add_option("DRAFT", options.draft)->required();
  any->add_option("--acceptance", options.acceptance)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "speculation_bench: {}\n", error.what());
  return 1;
}
