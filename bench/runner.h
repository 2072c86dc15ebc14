#pragma once
// The protocol of a measurement: warm up, then repeat with the subjects interleaved, a canary
// around every run, each record on disk as soon as its run has ended.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/bench_model.h"
#include "bench/canary.h"
#include "bench/device_sampler.h"
#include "bench/records.h"
#include "bench/scenario.h"
#include "bench/subject.h"
#include "bench/sweep.h"

namespace iol::bench {

/// What a runner works with; everything is used from one thread.
struct RunnerInputs {
  const Plan& plan;
  const SweepInputs* sweep = nullptr;  // after the plan's loads
  const BenchModel& model;
  std::vector<std::unique_ptr<Subject>>& subjects;
  RecordWriter& records;
  MemoryCanary& canary;
  PackageEnergy& energy;
  GpuMonitor* gpu = nullptr;  // the GPU that the subjects run on
  std::function<bool()> interrupted;
  std::function<void(const std::string&)> note = {};  // one line for the user
  /// A PyTorch subject that dies before its first measured run is left out, with a record that says
  /// why, and the others go on.
  bool leaves_out_failing = false;
  bool traces_steps = false;  // of measured runs
  double silence_seconds = 1800;
  bool shows_progress = false;
};

/// Starts the subjects one after the other and measures every load of the plan:
///
///   for each load: for each subject: its warm-ups
///                  for each repetition: for each subject: canary, run, canary
///
/// so that the runs of one repetition, which are compared with each other, are neighbours in time.
/// Subjects are stopped before it returns or throws.
///
/// Returns false when interrupted; the run under way leaves no records then. A subject that dies
/// leaves its run's requests as failed ones and ends the bench with its ResourceError.
bool run_bench(const RunnerInputs& inputs);

}  // namespace iol::bench
