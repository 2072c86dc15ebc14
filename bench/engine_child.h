#pragma once
// Our engine as a subject: the child's side of the protocol of child_subject.h.
#include <functional>
#include <iosfwd>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/engine.h"

namespace iol::bench {

using EngineFactory = std::function<std::unique_ptr<Engine>(const EngineConfig&)>;

/// The engine's configuration as the parent hands it to the child, and back.
nlohmann::json engine_config_json(const EngineConfig& config);
/// Throws InputError for a field that is missing or of the wrong type.
EngineConfig parse_engine_config(const nlohmann::json& json);

/// `config_json` is an engine's configuration, and may hold `slow_steps`: the share by which every
/// step is made longer.
///
/// Creates the engine, then serves runs from `input` until it ends or says quit. Answers go to
/// `output`, which nothing else may write to. A failure becomes an `error` message and exit status
/// 1; returns the exit status.
int serve_engine(const std::string& config_json, const EngineFactory& create_engine,
                 std::istream& input, std::ostream& output);

}  // namespace iol::bench
