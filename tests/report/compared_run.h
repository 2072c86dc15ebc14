#pragma once
// Records of a small simulated bench, for comparisons: subject `iol` in a closed loop, each
// repetition with its own noise. The numbers serve tests only.
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>
#include <vector>

#include "base/random.h"
#include "report/records.h"

namespace iol::report::sample {

struct ComparedRunOptions {
  std::string run_id = "base";
  std::string folder = "/base";
  int repetitions = 6;
  std::vector<int> concurrencies = {1};
  int requests = 3;
  double noise = 0.01;   // standard deviation of a repetition's speed, relative
  double step_ms = 1;    // of a decode step
  double slow_down = 0;  // 0.03: every step takes 3 % longer
  std::uint64_t seed = 0;
};

inline Records compared_run(const ComparedRunOptions& options) {
  RandomStream random(options.seed, 17);
  const auto normal = [&] {
    const double radius = std::sqrt(-2 * std::log(1 - random.uniform()));
    return radius * std::cos(2 * std::numbers::pi * random.uniform());
  };
  Records records;
  records.run_id = options.run_id;
  records.folder = options.folder;
  Json loads = Json::array();
  for (const int concurrency : options.concurrencies) {
    loads.push_back(
        {{"scenario", "throughput"}, {"concurrency", concurrency}, {"requests", options.requests}});
  }
  records.environment.fields = {
      {"seed", 0},
      {"threads", 2},
      {"machine", {{"cpu_model", "Example CPU 9000"}}},
      {"load", {{"input_tokens", "100"}, {"output_tokens", "50"}, {"loads", loads}}}};
  SubjectRecord subject;
  subject.name = "iol";
  subject.model_name = "demo";
  subject.fields = {{"model", {{"name", "demo"}, {"hash", "sha256:5f0c"}}}};
  records.subjects.push_back(subject);
  std::int64_t now_ns = 1'000'000'000;
  for (int repetition = 0; repetition < options.repetitions; ++repetition) {
    for (const int concurrency : options.concurrencies) {
      const double speed = std::exp(options.noise * normal()) * (1 + options.slow_down);
      for (int i = 0; i < options.requests; ++i) {
        RequestRecord request;
        request.run = {"iol", "throughput", concurrency, repetition};
        request.intended_start_ns = now_ns;
        request.start_ns = now_ns;
        request.output_tokens = 50;
        request.ttft_ms = 10 * speed;
        request.e2e_ms = (10 + 49 * options.step_ms) * speed;
        request.end_ns = now_ns + static_cast<std::int64_t>(*request.e2e_ms * 1e6);
        now_ns = request.end_ns;
        records.requests.push_back(request);
      }
    }
  }
  return records;
}

}  // namespace iol::report::sample
