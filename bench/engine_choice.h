#pragma once
// Which engines a bench runs.
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "backend/device.h"
#include "bench/bench_model.h"
#include "bench/openai/endpoint.h"
#include "bench/pytorch_subject.h"

namespace iol::bench {

struct EngineChoice {
  bool iol = false;
  std::optional<PythonEnvironment> pytorch;
  std::vector<Endpoint> endpoints;
  std::string note;  // a line for the user about what is left out; empty: nothing is
};

struct EngineChoiceInputs {
  /// As the user names them; nothing: pytorch where it can be had, and iol.
  const std::optional<std::vector<std::string>>& asked;
  const BenchModel& model;
  const Device& device;
};

/// What is left out by default goes into `not_measured` as {what, why}; asked for by name it is an
/// InputError.
EngineChoice choose_engines(const EngineChoiceInputs& inputs, nlohmann::json& not_measured);

}  // namespace iol::bench
