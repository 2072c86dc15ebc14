#pragma once
// A deterministic run as `iol bench` records it: three subjects, one stream and 1 to 64 streams,
// five interleaved repetitions, canaries, memory samples and a quality result. The numbers are made
// up by a small model of each subject and serve tests only; no document quotes them.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <queue>
#include <string>
#include <vector>

#include "base/random.h"

namespace iol::report::sample {

using Json = nlohmann::json;

struct SampleSubject {
  std::string name;
  std::string label;
  std::string kind;
  double base_step_ms;   // a decode step of one stream
  double per_stream_ms;  // what each further stream adds to the step
  double prefill_ms;     // of one prompt
  double memory_bytes;
};

struct SampleOptions {
  std::string run_id = "2026-01-31T12-00-00Z-sample";
  std::vector<SampleSubject> subjects = {
      {"pytorch-eager", "PyTorch eager", "pytorch", 6.20, 0.210, 11.0, 612e6},
      {"pytorch-compiled", "PyTorch compiled", "pytorch", 2.35, 0.150, 9.0, 842e6},
      {"iol", "iol", "iol", 0.82, 0.045, 3.1, 143e6}};
  std::vector<int> concurrencies = {1, 4, 16, 64};
  int repetitions = 6;
  int input_tokens = 100;
  int output_tokens = 200;
  double noise = 0.02;      // standard deviation of a run's speed, relative
  double bandwidth = 62e9;  // bytes/s
  double drift = 0.05;      // how far the bandwidth wanders over the run, relative
  bool with_quality = true;
  bool with_canaries = true;
  std::string model_name = "books-16m";
};

/// Builds the lines of one records.jsonl.
class SampleRun {
 public:
  explicit SampleRun(SampleOptions options) : options_(std::move(options)) { build(); }
  const std::vector<Json>& records() const { return records_; }
  std::vector<Json>& records() { return records_; }

  void write(const std::filesystem::path& folder) const {
    std::filesystem::create_directories(folder);
    std::ofstream stream(folder / "records.jsonl", std::ios::binary);
    for (const Json& record : records_) stream << record.dump() << "\n";
  }

 private:
  double normal() {
    const double radius = std::sqrt(-2 * std::log(1 - random_.uniform()));
    return radius * std::cos(2 * 3.14159265358979323846 * random_.uniform());
  }

  Json& add(const char* type) {
    records_.push_back({{"record_type", type}, {"schema_version", 1}, {"run_id", options_.run_id}});
    return records_.back();
  }

  void build() {
    add_environment();
    for (const SampleSubject& subject : options_.subjects) add_subject(subject);
    for (int repetition = 0; repetition < options_.repetitions; ++repetition) {
      for (const SampleSubject& subject : options_.subjects) {
        run(subject, "latency", 1, repetition, 8);
      }
      for (const int concurrency : options_.concurrencies) {
        for (const SampleSubject& subject : options_.subjects) {
          run(subject, "throughput", concurrency, repetition, 2 * concurrency + 4);
        }
      }
    }
    if (options_.with_quality) add_qualities();
  }

  void add_environment() {
    Json& record = add("environment");
    record["command"] = "iol bench demo --engines pytorch,iol --repeat 6";
    record["started_at"] = "2026-01-31T12:00:00Z";
    record["seed"] = 0;
    record["revision"] = "0123456789abcdef0123456789abcdef01234567";
    record["load"] = {{"input_tokens", "100"},
                      {"output_tokens", "200"},
                      {"loads",
                       {{{"scenario", "latency"}, {"concurrency", 1}, {"requests", 8}},
                        {{"scenario", "throughput"}, {"concurrency", 4}, {"requests", 12}}}}};
    record["machine"] = {{"cpu_model", "Example CPU 9000"},
                         {"isa", {"portable", "avx2", "avx512"}},
                         {"allowed_cpus", 2},
                         {"cgroup_cpu_quota", nullptr},
                         {"memory_bytes", 25.2e9},
                         {"governor", "performance"}};
    record["software"] = {{"iol", "0.1.0"},
                          {"compiler", "g++ 12.2.0"},
                          {"flags", "-O2"},
                          {"torch", "2.11.0"},
                          {"transformers", "5.17.0"}};
    record["not_measured"] = Json::array(
        {{{"what", "Power and energy"}, {"why", "/sys/class/powercap is not readable here"}}});
  }

  void add_subject(const SampleSubject& subject) {
    Json& record = add("subject");
    record["name"] = subject.name;
    record["label"] = subject.label;
    record["kind"] = subject.kind;
    record["model"] = {
        {"name", options_.model_name}, {"hash", "sha256:5f0c"}, {"synthetic", false}};
    const bool is_iol = subject.kind == "iol";
    record["settings"] = {{"dtype", "bf16"},
                          {"threads", 2},
                          {"quantization", "none"},
                          {"batching", is_iol ? "in-flight" : "static"},
                          {"kv_cache", is_iol ? "paged" : "contiguous"},
                          {"prefix_cache", false},
                          {"speculation", "none"}};
    record["versions"] =
        is_iol ? Json{{"iol", "0.1.0"}} : Json{{"torch", "2.11.0"}, {"transformers", "5.17.0"}};
    record["load_s"] = is_iol ? 0.012 : 1.9;
    record["memory"] = {{"weights_bytes", 33'600'000}, {"resident_bytes", subject.memory_bytes}};
    record["memory_reserved_bytes"] = is_iol ? Json(140'000'000) : Json(nullptr);
    record["weight_bytes_per_step"] = 33.6e6;
    record["kv_bytes_per_token"] = 6144;
  }

  double bandwidth_now() const {
    return options_.bandwidth *
           (1 + options_.drift * std::sin(static_cast<double>(now_ns_) * 1e-9 / 40));
  }

  void add_canary(const Json& run, const char* position) {
    if (!options_.with_canaries) return;
    Json& record = add("canary");
    record.update(run);
    record["position"] = position;
    record["read_bytes_per_s"] = bandwidth_now() * (1 + 0.01 * normal());
  }

  /// A closed loop of `concurrency` streams over `num_requests` requests, after one of warm-up.
  void run(const SampleSubject& subject, const char* scenario, int concurrency, int repetition,
           int num_requests) {
    const Json where = {{"subject", subject.name},
                        {"scenario", scenario},
                        {"concurrency", concurrency},
                        {"repetition", repetition}};
    add_canary(where, "before");
    const double speed = (1 + options_.noise * normal()) * options_.bandwidth / bandwidth_now();
    std::priority_queue<std::int64_t, std::vector<std::int64_t>, std::greater<>> free_at;
    for (int stream = 0; stream < concurrency; ++stream) free_at.push(now_ns_);
    add_request(where, subject, "warmup", now_ns_, concurrency, speed, 0);
    std::int64_t end_ns = now_ns_;
    for (int i = 0; i < num_requests; ++i) {
      const std::int64_t start_ns = free_at.top();
      free_at.pop();
      const std::int64_t done_ns =
          add_request(where, subject, "measure", start_ns, concurrency, speed, i);
      free_at.push(done_ns);
      end_ns = std::max(end_ns, done_ns);
    }
    add_samples(subject, concurrency, now_ns_, end_ns);
    Json& record = add("run");
    record.update(where);
    record["phase"] = "measure";
    record["start_ns"] = now_ns_;
    record["end_ns"] = end_ns;
    record["others_processor_s"] = 0.004;
    now_ns_ = end_ns + 200'000'000;
    add_canary(where, "after");
    now_ns_ += 100'000'000;
  }

  std::int64_t add_request(const Json& where, const SampleSubject& subject, const char* phase,
                           std::int64_t start_ns, int concurrency, double speed, int index) {
    const double step_ms =
        speed * (subject.base_step_ms + subject.per_stream_ms * (concurrency - 1));
    double now_ms = speed * subject.prefill_ms * (1 + 0.02 * std::abs(normal())) + step_ms;
    const double ttft_ms = now_ms;
    Json gaps = Json::array();
    for (int token = 1; token < options_.output_tokens; ++token) {
      const double hiccup = random_.uniform() < 0.01 ? 1 + random_.uniform() : 1;
      const double gap = step_ms * (1 + 0.03 * std::abs(normal())) * hiccup;
      gaps.push_back(std::round(gap * 1e4) / 1e4);
      now_ms += gap;
    }
    const std::int64_t end_ns = start_ns + static_cast<std::int64_t>(now_ms * 1e6);
    Json& record = add("request");
    record["metadata"] = where;
    record["metadata"]["request_id"] = std::to_string(index);
    record["metadata"]["phase"] = phase;
    record["metadata"]["intended_start_ns"] = start_ns;
    record["metadata"]["start_ns"] = start_ns + 12'000;
    record["metadata"]["end_ns"] = end_ns;
    record["metadata"]["requested_output_tokens"] = options_.output_tokens;
    // One request in twenty of the last subject falls the other way at a near tie.
    const bool differs = subject.kind == "iol" && index % 20 == 7;
    record["metadata"]["output_hash"] = differs ? "00000000000000ff" : "00000000000000aa";
    const auto ms = [](double value) { return Json{{"value", value}, {"unit", "ms"}}; };
    const auto tokens = [](int value) { return Json{{"value", value}, {"unit", "tokens"}}; };
    const double e2e_ms = static_cast<double>(end_ns - start_ns) * 1e-6;
    record["metrics"] = {
        {"time_to_first_token", ms(ttft_ms)},
        {"inter_token_latency", ms((e2e_ms - ttft_ms) / (options_.output_tokens - 1))},
        {"request_latency", ms(e2e_ms)},
        {"input_sequence_length", tokens(options_.input_tokens)},
        {"output_sequence_length", tokens(options_.output_tokens)},
        {"itl", {{"value", std::move(gaps)}, {"unit", "ms"}}}};
    record["error"] = nullptr;
    return end_ns;
  }

  void add_samples(const SampleSubject& subject, int concurrency, std::int64_t begin_ns,
                   std::int64_t end_ns) {
    for (std::int64_t t_ns = begin_ns; t_ns <= end_ns; t_ns += 100'000'000) {
      Json& record = add("device_sample");
      record["t_ns"] = t_ns;
      record["device"] = "cpu";
      record["subject"] = subject.name;
      record["memory_used_bytes"] =
          std::round(subject.memory_bytes + 2e6 * concurrency + 1e6 * std::abs(normal()));
      record["power_w"] = nullptr;
      record["power_unavailable"] = "/sys/class/powercap is not readable here";
    }
  }

  void add_qualities() {
    Json& reference = add("quality");
    reference["subject"] = options_.subjects.front().name;
    reference["perplexity"] = 29.785;
    reference["text"] = "heldout.txt";
    reference["tokens"] = 40960;
    Json& quality = add("quality");
    quality["subject"] = options_.subjects.back().name;
    quality["reference"] = options_.subjects.front().name;
    quality["perplexity"] = 29.787;
    quality["kl_divergence_nats"] = 0.00012;
    quality["top1_agreement"] = 0.9987;
    quality["text"] = "heldout.txt";
    quality["tokens"] = 40960;
  }

  SampleOptions options_;
  RandomStream random_{20260131};
  std::int64_t now_ns_ = 1'000'000'000;
  std::vector<Json> records_;
};

}  // namespace iol::report::sample
