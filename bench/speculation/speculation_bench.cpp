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
#include <atomic>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "engine/engine.h"
#include "model/resolve.h"
#include "tokenizer/tokenizer.h"
#include "workload/length_distribution.h"

namespace {

using namespace iol;

constexpr int kPromptTokens = 100;

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
  std::vector<int> streams = {1, 4, 16, 64};
};

using Prompts = std::vector<std::vector<std::int32_t>>;

struct Workload {
  std::string name;
  Prompts prompts;
  double temperature = 0;
  std::vector<int> lengths = {};  // [prompts] tokens after which the client has enough; empty: all
};

/// Steps of one kind. A device that runs ahead is waited for in the step behind.
struct StepSums {
  std::int64_t num_steps = 0;
  std::int64_t duration_ns = 0;
  std::int64_t host_ns = 0;
  std::int64_t draft_ns = 0;
  std::int64_t num_decode_tokens = 0;
  std::int64_t num_draft_tokens = 0;
  std::int64_t num_accepted_tokens = 0;
  std::int64_t num_prefill_tokens = 0;

  void add(const StepRecord& step) {
    ++num_steps;
    duration_ns += step.duration_ns;
    host_ns += step.host_ns;
    draft_ns += step.draft_ns;
    num_decode_tokens += step.num_decode_tokens;
    num_draft_tokens += step.num_draft_tokens;
    num_accepted_tokens += step.num_accepted_draft_tokens;
    num_prefill_tokens += step.num_prefill_tokens;
  }
};

struct Result {
  double tokens_per_second = 0;
  double tokens_per_step = 0;  // of a sequence
  double accepted_share = 0;
  double mean_depth = 0;
  double predicted = 1;
};

Prompts heldout_prompts(const Tokenizer& tokenizer) {
  std::ifstream file(find_shipped("heldout.txt").value());
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const auto tokens = tokenizer.encode(text);
  Prompts prompts;
  for (std::size_t begin = 1; begin + kPromptTokens < tokens.size(); begin += 900) {
    prompts.emplace_back(tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                         tokens.begin() + static_cast<std::ptrdiff_t>(begin + kPromptTokens));
  }
  return prompts;
}

/// A passage given three times over, its beginning a fourth time; records and code of one pattern.
Prompts repetitive_prompts(const Tokenizer& tokenizer, const Prompts& heldout) {
  Prompts prompts;
  for (std::size_t i = 0; i < heldout.size(); ++i) {
    if (i % 3 == 0) {
      std::vector<std::int32_t> prompt;
      for (int copy = 0; copy < 3; ++copy) {
        prompt.insert(prompt.end(), heldout[i].begin(), heldout[i].end());
      }
      prompt.insert(prompt.end(), heldout[i].begin(), heldout[i].begin() + 30);
      prompts.push_back(std::move(prompt));
      continue;
    }
    std::string text;
    for (int row = 1; row <= 12; ++row) {
      text += i % 3 == 1 ? fmt::format("{{\"id\": {}, \"name\": \"item {}\", \"price\": {}.50}},\n",
                                       row, row, 10 + i % 7)
                         : fmt::format("void set_value_{}(int value) {{ values[{}] = value; }}\n",
                                       row, row);
    }
    prompts.push_back(tokenizer.encode(text));
  }
  return prompts;
}

/// Prompts of 16 to 128 tokens, and mostly some 20 tokens wanted: what the ladder asks for. The
/// engine isn't told when a client will have enough.
Workload short_requests(const Prompts& heldout) {
  const LengthDistribution prompt_tokens = LengthDistribution::parse("uniform:16:128", "prompts");
  const LengthDistribution output_tokens = LengthDistribution::parse("lognormal:3:0.7", "outputs");
  RandomStream random(2);
  Workload workload{"short requests", {}};
  for (std::size_t i = 0; i + 1 < heldout.size(); ++i) {
    std::vector<std::int32_t> prompt = heldout[i];
    prompt.insert(prompt.end(), heldout[i + 1].begin(), heldout[i + 1].end());
    prompt.resize(static_cast<std::size_t>(prompt_tokens.sample(random)));
    workload.prompts.push_back(std::move(prompt));
    workload.lengths.push_back(static_cast<int>(output_tokens.sample(random)));
  }
  return workload;
}

Prompts random_prompts(int vocab_size) {
  RandomStream random(1);
  Prompts prompts(80, std::vector<std::int32_t>(kPromptTokens));
  for (auto& prompt : prompts) {
    for (auto& token : prompt) {
      token = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocab_size)));
    }
  }
  return prompts;
}

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

struct Subject {
  std::string name;
  std::shared_ptr<Engine> engine;
  bool speculates = true;
  std::vector<Result> results = {};
  std::vector<double> gains = {};
  std::map<std::string, StepSums> steps = {};  // of all repetitions, by kind
};

std::string kind_of(const StepRecord& step, bool is_behind_drafts) {
  return fmt::format("{}{}{}", step.num_prefill_tokens > 0 ? "prompts" : "decodes",
                     step.num_draft_tokens > 0 ? ", with drafts" : "",
                     is_behind_drafts ? ", behind drafts" : "");
}

/// A closed loop of `num_streams`; each prompt of [first, first + count) once.
Result run(Subject& subject, const Workload& workload, int num_output_tokens, int num_streams,
           std::size_t first, std::size_t count) {
  Engine& engine = *subject.engine;
  std::atomic<std::size_t> next{0};
  std::atomic<std::int64_t> num_tokens{0};
  std::function<void()> send = [&] {
    const std::size_t i = next.fetch_add(1);
    if (i >= count) return;
    const std::size_t which = (first + i) % workload.prompts.size();
    const int length = workload.lengths.empty() ? num_output_tokens : workload.lengths[which];
    Request request;
    request.prompt_tokens = workload.prompts[which];
    request.speculates = subject.speculates;
    request.sampling.max_tokens = num_output_tokens;
    request.sampling.ignore_eos = true;
    request.sampling.temperature = workload.temperature;
    engine.submit(std::move(request), [&, length, has = 0](const TokenEvent& event) mutable {
      if (event.token && has < length) num_tokens.fetch_add(1);
      if (event.token && ++has == length) engine.cancel(event.request);
      if (event.finish_reason) send();
    });
  };
  double predicted_ns = 0;
  double drafting_ns = 0;
  double depths = 0;
  std::int64_t num_decodes = 0;
  std::int64_t num_steps = 0;
  bool was_drafted = false;
  engine.on_step([&](const StepRecord& step) {
    num_decodes += step.num_decode_tokens;
    ++num_steps;
    depths += step.draft_depth;
    subject.steps[kind_of(step, was_drafted)].add(step);
    was_drafted = step.num_draft_tokens > 0;
    if (step.num_decode_tokens == 0) return;
    predicted_ns += step.predicted_speedup * static_cast<double>(step.duration_ns);
    drafting_ns += static_cast<double>(step.duration_ns);
  });
  const EngineStats before = engine.stats();
  const auto start_ns = now_ns();
  for (int i = 0; i < num_streams; ++i) send();
  engine.drain();
  const double seconds = static_cast<double>(now_ns() - start_ns) * 1e-9;
  engine.on_step({});
  const EngineStats after = engine.stats();
  const auto drafts = static_cast<double>(after.num_draft_tokens - before.num_draft_tokens);
  const auto accepted =
      static_cast<double>(after.num_accepted_draft_tokens - before.num_accepted_draft_tokens);
  Result result;
  result.tokens_per_second = static_cast<double>(num_tokens) / seconds;
  result.tokens_per_step =
      1 + accepted / static_cast<double>(std::max<std::int64_t>(num_decodes, 1));
  result.accepted_share = drafts > 0 ? accepted / drafts : 0;
  result.mean_depth = depths / static_cast<double>(std::max<std::int64_t>(num_steps, 1));
  result.predicted = drafting_ns > 0 ? predicted_ns / drafting_ns : 1;
  return result;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

template <class Value>
double median_of(const std::vector<Result>& results, Value value) {
  std::vector<double> values;
  for (const Result& result : results) values.push_back(result.*value);
  return median(std::move(values));
}

void print_header() {
  fmt::print(
      "| workload | streams | draft | tok/s | gain | lowest to highest | predicted | tokens a "
      "step | accepted | depth |\n|---|---|---|---|---|---|---|---|---|---|\n");
}

void print_row(const std::string& workload, int num_streams, const Subject& subject) {
  const auto [low, high] = std::ranges::minmax(subject.gains);
  fmt::print(
      "| {} | {} | {} | {:.0f} | {:.2f} | {:.2f} to {:.2f} | {:.2f} | {:.2f} | {:.0f} % | {:.1f} "
      "|\n",
      workload, num_streams, subject.name, median_of(subject.results, &Result::tokens_per_second),
      median(subject.gains), low, high, median_of(subject.results, &Result::predicted),
      median_of(subject.results, &Result::tokens_per_step),
      100 * median_of(subject.results, &Result::accepted_share),
      median_of(subject.results, &Result::mean_depth));
  std::fflush(stdout);
}

/// What a loop's time went to: sums over all repetitions, in milliseconds.
void print_steps(const Subject& subject) {
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
void compare(std::vector<Subject>& subjects, const Workload& workload, const Options& options,
             int num_streams) {
  for (Subject& subject : subjects) {
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
    for (Subject& subject : subjects) {
      const Result result =
          run(subject, workload, options.num_output_tokens, num_streams, first, count);
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
  for (const Subject& subject : subjects) print_row(workload.name, num_streams, subject);
  if (options.shows_steps) std::ranges::for_each(subjects, print_steps);
}

void compare_speed(std::vector<Subject>& subjects, const Options& options) {
  const Tokenizer& tokenizer = *subjects.front().engine->tokenizer();
  const Prompts heldout = heldout_prompts(tokenizer);
  std::vector<Workload> workloads = {
      {"prose", heldout},
      {"prose, temperature 1", heldout, 1.0},
      {"repetitive", repetitive_prompts(tokenizer, heldout)},
      {"random tokens", random_prompts(subjects.front().engine->model_config().vocab_size)},
      short_requests(heldout)};
  if (!options.workloads.empty()) {
    std::erase_if(workloads, [&](const Workload& workload) {
      return std::ranges::find(options.workloads, workload.name) == options.workloads.end();
    });
  }
  print_header();
  for (const int num_streams : options.streams) {
    for (const Workload& workload : workloads) compare(subjects, workload, options, num_streams);
  }
}

/// One engine, without and with its drafts: both have the device's memory and kernels.
std::vector<Subject> subjects_of_one(const std::string& name, std::shared_ptr<Engine> engine) {
  return {{"none", engine, false}, {name, std::move(engine), true}};
}

/// Engines of their own, where they don't take a GPU from each other: `none` has nothing of
/// speculation then.
void speed(const Options& options) {
  const std::string none;
  if (engine_config(options, none).device.kind != DeviceKind::kCpu) {
    for (const std::string& draft : options.drafts) {
      auto subjects = subjects_of_one(draft, Engine::create(engine_config(options, draft)));
      compare_speed(subjects, options);
    }
    return;
  }
  std::vector<Subject> subjects;
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
    const Workload workload{fmt::format("SIMULATED acceptance {:g}", rate),
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
  const Workload workload{fmt::format("SIMULATED acceptance {:g}", options.acceptance),
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
