// How fast traces are read and audited, in bytes of the trace per second of one thread.
//
//   cmake --build --preset release --target trace_bench && build/trace_bench
//
// What is timed is first checked: every request must be counted.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/random.h"
#include "workload/audit.h"

namespace {

constexpr std::int64_t kRequests = 200'000;

std::string mooncake_line(iol::RandomStream& random, std::int64_t i) {
  const auto blocks = 1 + random.below(30);
  std::string ids;
  for (std::uint64_t b = 0; b < blocks; ++b)
    ids += fmt::format("{}{}", b == 0 ? "" : ", ",
                       b == 0 ? random.below(50) : random.below(4'000'000));
  return fmt::format(
      "{{\"timestamp\": {}, \"input_length\": {}, \"output_length\": {}, \"hash_ids\": [{}]}}\n",
      i * 10, blocks * 512, 1 + random.below(800), ids);
}

std::string log_line(iol::RandomStream& random, std::int64_t i) {
  return fmt::format(
      "{{\"timestamp\": {}, \"request\": {{\"model\": \"m\", \"messages\": [{{\"role\": \"user\", "
      "\"content\": \"{}\"}}]}}, \"response\": {{\"id\": \"r{}\", \"usage\": {{\"prompt_tokens\": "
      "{}, "
      "\"completion_tokens\": {}}}}}}}\n",
      1'735'689'600 + i / 10, std::string(200 + random.below(400), 'x'), i, 1 + random.below(4000),
      1 + random.below(800));
}

std::string azure_line(iol::RandomStream& random, std::int64_t i) {
  return fmt::format("2023-11-16 {:02}:{:02}:{:02}.6805900,{},{}\n", i / 36'000 % 24, i / 600 % 60,
                     i / 10 % 60, 1 + random.below(4000), 1 + random.below(800));
}

/// Written once per form, removed at the end of the process.
class TraceFile {
 public:
  template <class Line>
  TraceFile(const char* name, const std::string& header, Line&& line)
      : path_(std::filesystem::temp_directory_path() / fmt::format("iol-{}-{}", name, ::getpid())) {
    std::ofstream stream(path_, std::ios::binary);
    stream << header;
    iol::RandomStream random(1);
    for (std::int64_t i = 0; i < kRequests; ++i) stream << line(random, i);
  }
  ~TraceFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void audit(benchmark::State& state, const TraceFile& file) {
  const auto run = [&] {
    const auto trace = iol::open_trace(file.path(), {});
    return iol::audit_trace(*trace, file.path().string(), {}).requests;
  };
  if (run() != kRequests) {
    std::fprintf(stderr, "trace_bench: requests are missing\n");
    std::exit(1);
  }
  for (auto _ : state) benchmark::DoNotOptimize(run());
  const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(file.path()));
  state.SetBytesProcessed(state.iterations() * bytes);
  state.SetItemsProcessed(state.iterations() * kRequests);
}

void audit_mooncake(benchmark::State& state) {
  static const TraceFile file("mooncake.jsonl", "", mooncake_line);
  audit(state, file);
}

void audit_request_log(benchmark::State& state) {
  static const TraceFile file("log.jsonl", "", log_line);
  audit(state, file);
}

void audit_azure(benchmark::State& state) {
  static const TraceFile file("azure.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n", azure_line);
  audit(state, file);
}

BENCHMARK(audit_mooncake)->Unit(benchmark::kMillisecond);
BENCHMARK(audit_request_log)->Unit(benchmark::kMillisecond);
BENCHMARK(audit_azure)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
