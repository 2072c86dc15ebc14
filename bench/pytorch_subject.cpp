#include "bench/pytorch_subject.h"

#include <cstdlib>

#include "bench/child_process.h"
#include "bench/installed_files.h"

namespace iol::bench {
namespace {

constexpr const char* kHowToInstall =
    "install it with: python3 -m venv .venv && .venv/bin/pip install -r "
    "baseline/requirements.txt (or point IOL_PYTHON at a Python that has it)";
constexpr double kProbeSeconds = 30;

// Says which of the packages are not there, without importing any of them.
constexpr const char* kProbe =
    "import importlib.util as u; print('missing:' + ' '.join(p for p in ('torch', 'transformers') "
    "if u.find_spec(p) is None))";

/// Nothing: no such Python. Otherwise the packages it lacks, separated by spaces.
std::optional<std::string> missing_packages(const std::filesystem::path& python) {
  constexpr std::string_view kPrefix = "missing:";
  try {
    ChildProcess process({python.string(), "-c", kProbe});
    const auto answer = process.read_line(kProbeSeconds, nullptr);
    if (answer.outcome != ReadOutcome::kLine || !answer.line.starts_with(kPrefix)) {
      return std::nullopt;
    }
    return answer.line.substr(kPrefix.size());
  } catch (const ResourceError&) {
    return std::nullopt;
  }
}

std::vector<std::filesystem::path> candidate_pythons() {
  if (const char* chosen = std::getenv("IOL_PYTHON"); chosen != nullptr && *chosen != '\0') {
    return {chosen};
  }
  std::vector<std::filesystem::path> candidates;
  if (const auto found = find_installed_file(".venv/bin/python")) candidates.push_back(*found);
  candidates.emplace_back("python3");
  return candidates;
}

}  // namespace

PythonEnvironment find_python_environment() {
  PythonEnvironment environment;
  const auto script = find_installed_file("baseline/pytorch_subject.py");
  if (!script) {
    environment.missing = "baseline/pytorch_subject.py is not beside the program; reinstall it";
    return environment;
  }
  environment.script = *script;
  std::string looked_at;
  for (const auto& python : candidate_pythons()) {
    const auto missing = missing_packages(python);
    if (missing && missing->empty()) {
      environment.python = python;
      return environment;
    }
    if (!looked_at.empty()) looked_at += ", ";
    looked_at += missing ? fmt::format("{} lacks {}", python.string(), *missing)
                         : fmt::format("{} does not run", python.string());
  }
  environment.missing =
      fmt::format("no Python with PyTorch and transformers ({}); {}", looked_at, kHowToInstall);
  return environment;
}

std::string why_no_gpu_for(const PythonEnvironment& environment) {
  constexpr double kImportSeconds = 120;
  constexpr const char* kAsk =
      "import torch; print('gpus:' + str(torch.cuda.device_count()), torch.__version__)";
  ChildProcess process({environment.python.string(), "-c", kAsk});
  const auto answer = process.read_line(kImportSeconds, nullptr);
  if (answer.outcome != ReadOutcome::kLine || !answer.line.starts_with("gpus:"))
    return fmt::format("{} can't import torch", environment.python.string());
  if (!answer.line.starts_with("gpus:0")) return {};
  return fmt::format("PyTorch {} of {} sees no GPU; install a build for this driver's CUDA",
                     answer.line.substr(answer.line.find(' ') + 1), environment.python.string());
}

std::vector<std::unique_ptr<Subject>> make_pytorch_subjects(const PythonEnvironment& environment,
                                                            const BenchModel& model,
                                                            const PyTorchOptions& options) {
  std::vector<std::unique_ptr<Subject>> subjects;
  for (const std::string mode : {"eager", "compiled"}) {
    ChildSubject::Launch launch;
    launch.name = "pytorch-" + mode;
    launch.kind = "pytorch";
    launch.arguments = {environment.python.string(),
                        environment.script.string(),
                        "--mode",
                        mode,
                        "--dtype",
                        std::string(dtype_name(model.dtype)),
                        "--device",
                        device_name(options.device),
                        "--threads",
                        std::to_string(options.num_threads),
                        "--max-length",
                        std::to_string(options.max_request_tokens),
                        "--batch",
                        std::to_string(options.max_batch),
                        "--seed",
                        std::to_string(options.seed)};
    if (model.synthetic()) {
      launch.arguments.insert(launch.arguments.end(),
                              {"--config-json", transformers_config(model.config).dump()});
    } else {
      launch.arguments.insert(launch.arguments.end(), {"--model", model.folder->string()});
    }
    launch.settings = {{"quantization", "none"},
                       {"batching", "static"},
                       {"kv_cache", "contiguous"},
                       {"prefix_cache", false},
                       {"speculation", "none"}};
    if (options.max_batch > 0) launch.settings["max_batch"] = options.max_batch;
    subjects.push_back(std::make_unique<ChildSubject>(std::move(launch)));
  }
  return subjects;
}

}  // namespace iol::bench
