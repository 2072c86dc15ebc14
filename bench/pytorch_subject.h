#pragma once
// The PyTorch baseline (baseline/pytorch_subject.py) as two subjects.
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/device.h"
#include "bench/bench_model.h"
#include "bench/child_subject.h"

namespace iol::bench {

/// A Python that has the baseline's packages, or why there is none.
struct PythonEnvironment {
  std::filesystem::path python;
  std::filesystem::path script;
  std::string missing;  // empty when usable; otherwise one line: what is missing and what to do
};

/// Looks at $IOL_PYTHON, then for .venv/bin/python in the folders above the executable, then for
/// python3 in PATH; the first one that has torch and transformers is taken. With $IOL_PYTHON set
/// no other one is tried. Imports nothing: takes a fraction of a second.
PythonEnvironment find_python_environment();

/// Why PyTorch can't use a GPU; empty when it can. Imports torch: takes seconds.
std::string why_no_gpu_for(const PythonEnvironment& environment);

struct PyTorchOptions {
  Device device = {DeviceKind::kCpu, 0};
  int num_threads = 1;
  std::int64_t max_request_tokens = 0;  // longest prompt and output of one request together
  int max_batch = 0;                    // of a static batch; 0: the load's concurrency
  std::uint64_t seed = 0;
};

/// `pytorch-eager` and `pytorch-compiled`.
std::vector<std::unique_ptr<Subject>> make_pytorch_subjects(const PythonEnvironment& environment,
                                                            const BenchModel& model,
                                                            const PyTorchOptions& options);

}  // namespace iol::bench
