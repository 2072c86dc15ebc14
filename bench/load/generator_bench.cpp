// The load generator against a target that computes nothing: how late it is, and what it costs.
//
//   generator_bench [RATE [SECONDS_OF_AN_ANSWER [SECONDS]]]
//
// By default 2,000 requests/s whose answers take 6 s each, so that 12,000 are in flight, for 12 s.
// Exits with 1 when the 99th percentile of the lateness reaches 1 ms.
#include <fmt/format.h>

#include <cstdlib>
#include <span>

#include "bench/load/null_target.h"
#include "bench/load_generator.h"
#include "workload/arrival_process.h"

namespace iol::bench {
namespace {

constexpr std::int64_t kTokensPerAnswer = 20;
constexpr double kPunctualMs = 1;

double argument(std::span<char*> arguments, std::size_t index, double otherwise) {
  return index < arguments.size() ? std::strtod(arguments[index], nullptr) : otherwise;
}

int run(std::span<char*> arguments) {
  const double rate = argument(arguments, 1, 2000);
  const double answer_s = argument(arguments, 2, 6);
  const double seconds = argument(arguments, 3, 12);
  if (!(rate > 0) || !(answer_s > 0) || !(seconds > 0)) {
    fmt::print(stderr, "usage: generator_bench [RATE [SECONDS_OF_AN_ANSWER [SECONDS]]]\n");
    return 2;
  }
  const auto count = static_cast<std::int64_t>(rate * seconds);
  const auto due =
      ArrivalProcess::parse("poisson", "arrival").due_times_ns(rate, count, /*seed=*/0);
  std::vector<WorkloadRequest> requests(due.size());
  for (std::size_t i = 0; i < due.size(); ++i) {
    requests[i].id = static_cast<std::int64_t>(i);
    requests[i].prompt_tokens = std::vector<std::int32_t>(100, 1);
    requests[i].output_tokens = kTokensPerAnswer;
    requests[i].due_ns = due[i];
  }
  NullTarget target(answer_s);
  const auto result = run_load(target, {Phase::kMeasure, 0, requests}, {});
  const auto& generator = result.details.at("generator");
  const double wall_s = static_cast<double>(due.back()) * 1e-9;
  const double p99_ms = generator.at("lateness_p99_ms").get<double>();
  fmt::print(
      "{} requests at {:g}/s, Poisson; in flight at most {}\n"
      "lateness: p50 {:.3f} ms, p99 {:.3f} ms, most {:.3f} ms\n"
      "processor time of the generator: {:.2f} s of {:.1f} s ({:.1f} %)\n",
      requests.size(), rate, generator.at("in_flight_max").get<std::int64_t>(),
      generator.at("lateness_p50_ms").get<double>(), p99_ms,
      generator.at("lateness_max_ms").get<double>(), generator.at("processor_s").get<double>(),
      wall_s, 100 * generator.at("processor_s").get<double>() / wall_s);
  return p99_ms < kPunctualMs ? 0 : 1;
}

}  // namespace
}  // namespace iol::bench

int main(int argc, char** argv) { return iol::bench::run({argv, static_cast<std::size_t>(argc)}); }
