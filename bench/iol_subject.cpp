#include "bench/iol_subject.h"

#include <fmt/format.h>

#include "bench/engine_child.h"
#include "bench/installed_files.h"

namespace iol::bench {

namespace {

/// "ngram,demo-draft, depth auto".
std::string speculation_text(const SpeculationConfig& speculation) {
  std::string text = draft_text(speculation);
  if (!speculation.enabled()) return text;
  if (!speculation.model.empty()) text += fmt::format(" ({})", draft_format_text(speculation));
  text += speculation.depth ? fmt::format(", depth {}", *speculation.depth) : ", depth auto";
  if (speculation.simulated_acceptance) {
    text += fmt::format(", SIMULATED acceptance {}", *speculation.simulated_acceptance);
  }
  return text;
}

}  // namespace

std::unique_ptr<Subject> make_iol_subject(const EngineConfig& config, const std::string& name,
                                          double slow_steps) {
  auto config_json = engine_config_json(config);
  if (slow_steps > 0) config_json["slow_steps"] = slow_steps;
  ChildSubject::Launch launch;
  launch.name = name;
  launch.kind = "iol";
  launch.arguments = {executable_path().string(), "bench", kEngineChildOption, config_json.dump()};
  launch.settings = {{"quantization", config_json.at("quant")},
                     {"batching", config_json.at("scheduler")},
                     {"kv_cache", config_json.at("kv_allocation")},
                     {"prefix_cache", config.prefix_cache},
                     {"preemption", config_json.at("preemption")},
                     {"speculation", speculation_text(config.speculation)}};
  if (slow_steps > 0) launch.settings["slow_steps"] = slow_steps;
  return std::make_unique<ChildSubject>(std::move(launch));
}

}  // namespace iol::bench
