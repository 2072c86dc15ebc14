#include "bench/engine_choice.h"

#include <algorithm>

#include "base/error.h"
#include "engine/device_backend.h"

namespace iol::bench {
namespace {

void check_names(const std::vector<std::string>& engines) {
  for (const auto& engine : engines) {
    if (engine != "pytorch" && engine != "iol") {
      throw_input_error("--engines {}: expected pytorch, iol or openai:URL[,NAME]", engine);
    }
  }
}

/// Why the PyTorch baseline can't run; empty when it can, and `environment` is what runs it.
std::string missing_pytorch(const EngineChoiceInputs& inputs, PythonEnvironment& environment) {
  const BenchModel& model = inputs.model;
  if (model.built_from) {
    return fmt::format(
        "'{}' is {}, which PyTorch can't load; bench the model that it was built from with --quant",
        model.name, model.built_from->what);
  }
  environment = find_python_environment();
  if (environment.missing.empty() && resolve_device(inputs.device).kind == DeviceKind::kCuda) {
    environment.missing = why_no_gpu_for(environment);
  }
  return environment.missing;
}

}  // namespace

EngineChoice choose_engines(const EngineChoiceInputs& inputs, nlohmann::json& not_measured) {
  EngineChoice choice;
  std::vector<std::string> asked = {"pytorch", "iol"};
  if (inputs.asked) {
    if (inputs.asked->empty()) throw_input_error("--engines: no engine is given");
    asked = *inputs.asked;
    choice.endpoints = take_endpoints(asked);
    check_names(asked);
  }
  const auto wants = [&](std::string_view engine) {
    return std::find(asked.begin(), asked.end(), engine) != asked.end();
  };
  choice.iol = wants("iol");
  if (!wants("pytorch")) return choice;
  PythonEnvironment environment;
  const std::string missing = missing_pytorch(inputs, environment);
  if (missing.empty()) {
    choice.pytorch = std::move(environment);
  } else if (inputs.asked) {
    throw_input_error("--engines pytorch: {}", missing);
  } else {
    not_measured.push_back({{"what", "the PyTorch baseline"}, {"why", missing}});
    choice.note = "without the PyTorch baseline: " + missing;
  }
  return choice;
}

}  // namespace iol::bench
