#pragma once
// The whole of `iol bench`, but for its command line and the report over its records.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/ladder.h"
#include "bench/scenario.h"
#include "engine/engine.h"

namespace iol::bench {

/// How the OpenAI endpoints are spoken to.
struct ServerOptions {
  std::string model;    // its name there; empty: the first one that a server lists
  std::string api_key;  // never recorded
  double request_timeout_s = 600;
};

struct BenchOptions {
  std::string model = "demo";
  /// "pytorch", "iol" and "openai:URL", which a name may follow. Nothing: pytorch and iol, and
  /// pytorch is left out with a note when it isn't installed.
  std::optional<std::vector<std::string>> engines;
  ScenarioOptions scenario;  // without its trace
  std::optional<std::filesystem::path> trace;
  /// Our engine. 0 for max_batch means the highest concurrency, 0 for kv_cache_tokens what the
  /// requests under way need; model is set from the one above.
  EngineConfig engine;
  ServerOptions servers;
  nlohmann::json slo;  // null or what parse_slo() gives
  /// Set: the rungs of the ladder instead of one engine.
  std::optional<LadderOptions> ladder;
  std::filesystem::path output_folder;
  bool traces_steps = false;  // a record for every step of ours
  /// For experiments: one engine of ours per entry ("iol", "iol-2", ...), whose every step is made
  /// longer by that share. Not empty.
  std::vector<double> slow_steps = {0};
  std::vector<std::string> command;  // the command line, for the record
  double silence_seconds = 1800;     // a subject that says nothing for so long is given up
  bool shows_progress = false;
  std::function<bool()> interrupted;
  std::function<void(const std::string&)> note;  // one line for the user
};

/// Runs everything and writes `output_folder`/records.jsonl. Returns false when interrupted; the
/// records of the runs that ended are whole then. Throws InputError for what can't be run and
/// ResourceError for a subject that died or a disk that is full.
bool run_bench(const BenchOptions& options);

/// results/<UTC time>-<model>, with a number behind it when that exists.
std::filesystem::path default_output_folder(const std::string& model);

}  // namespace iol::bench
