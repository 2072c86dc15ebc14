#pragma once
// Small engines with drafters, for the tests of speculation.
#include <optional>
#include <string>
#include <vector>

#include "engine/draft_model.h"
#include "engine/engine.h"
#include "tests/engine/collector.h"
#include "tests/engine/draft_folder.h"

namespace iol::test {

inline constexpr const char* kText =
    "The old man went down to the sea. The old man went down to the sea, and the old man";

inline EngineConfig small_config() {
  EngineConfig config;
  config.model = std::string(IOL_SOURCE_DIR) + "/models/books-2m";
  config.num_threads = 1;
  config.max_batch = 8;
  config.max_context = 512;
  config.kv_cache_tokens = 4096;
  config.deterministic = true;  // a Hopper GPU needs to be told
  return config;
}

/// The same weights in another folder: a draft that is always right.
inline const DraftFolder& perfect_draft() {
  static const DraftFolder folder(R"({"rope_parameters": {"rope_theta": 10000.0}})");
  return folder;
}

inline const DraftFolder& draft() {
  static const DraftFolder folder;
  return folder;
}

inline EngineConfig with_draft(const std::string& text, std::optional<int> depth) {
  EngineConfig config = small_config();
  config.speculation = parse_draft(text);
  config.speculation.depth = depth;
  if (!config.speculation.model.empty()) config.speculation.quant = WeightFormat::kNone;
  return config;
}

inline std::vector<Outcome> run(Engine& engine, const std::vector<Request>& requests) {
  Collector collector;
  for (std::size_t i = 0; i < requests.size(); ++i)
    engine.submit(requests[i], collector.listen(static_cast<int>(i)));
  engine.drain();
  std::vector<Outcome> outcomes;
  for (std::size_t i = 0; i < requests.size(); ++i)
    outcomes.push_back(collector.outcome(static_cast<int>(i)));
  return outcomes;
}

}  // namespace iol::test
