#include "bench/runner.h"

#include <algorithm>
#include <optional>

#include "backend/kv_format.h"
#include "base/clock.h"
#include "bench/json_or_null.h"
#include "bench/live_view.h"
#include "bench/process_status.h"
#include "model/memory_plan.h"

namespace iol::bench {
namespace {

using nlohmann::json;

/// What the subject's weights are stored in, as far as it says so.
Quantization quantization_of(const json& settings) {
  const auto format = [&](const char* field) {
    const auto name = settings.find(field);
    if (name == settings.end() || !name->is_string()) return WeightFormat::kNone;
    return parse_weight_format(name->get<std::string>()).value_or(WeightFormat::kNone);
  };
  Quantization quantization;
  quantization.format = format("quantization");
  quantization.head = format("quant_head");
  quantization.group_size = settings.value("quant_group_size", kDefaultGroupSize);
  return quantization;
}

/// What the subject's keys and values are stored in; like the weights where it doesn't say.
DType kv_dtype_of(const json& settings, const BenchModel& model) {
  const auto named = settings.find("kv_dtype");
  if (named == settings.end() || !named->is_string()) return model.dtype;
  return parse_kv_format(named->get<std::string>()).value_or(model.dtype);
}

json subject_record(const Subject& subject, const BenchModel& model, const json& ready) {
  json settings = subject.settings();
  settings.update(ready.value("settings", json::object()));
  const DType kv_dtype = kv_dtype_of(settings, model);
  // What a server stores its weights and its cache in is not known.
  const bool is_known = subject.kind() != "openai";
  const json weight_bytes =
      is_known ? json(weight_bytes_per_step(model.config, model.dtype, quantization_of(settings)))
               : json(nullptr);
  const json kv_bytes = is_known ? json(kv_bytes_per_token(model.config, kv_dtype)) : json(nullptr);
  const json memory = ready.value("memory", json::object());
  json record = {{"name", subject.name()},
                 {"kind", subject.kind()},
                 {"model", model_record(model)},
                 {"settings", std::move(settings)},
                 {"versions", ready.value("versions", json::object())},
                 {"load_s", static_cast<double>(ready.value("load_ns", std::int64_t{0})) * 1e-9},
                 {"memory", memory},
                 {"memory_reserved_bytes", nullptr},
                 {"weight_bytes_per_step", weight_bytes},
                 {"kv_bytes_per_token", kv_bytes}};
  if (memory.contains("kv_cache_bytes")) {
    record["memory_reserved_bytes"] = memory.value("weights_bytes", std::int64_t{0}) +
                                      memory.value("kv_cache_bytes", std::int64_t{0}) +
                                      memory.value("activations_bytes", std::int64_t{0});
  }
  return record;
}

json memory_record(const Subject& subject) {
  if (!subject.process_id()) return nullptr;
  const auto status = read_process_status(*subject.process_id());
  return {{"resident_bytes", or_null(status.resident_bytes)},
          {"peak_resident_bytes", or_null(status.peak_resident_bytes)},
          {"anonymous_bytes", or_null(status.anonymous_bytes)}};
}

class Runner {
 public:
  explicit Runner(const RunnerInputs& inputs)
      : in_(inputs),
        view_(inputs.shows_progress, inputs.plan.num_runs_per_subject *
                                         static_cast<std::int64_t>(inputs.subjects.size())) {
    patience_.interrupted = in_.interrupted;
    patience_.silence_seconds = in_.silence_seconds;
  }

  ~Runner() {
    for (const auto& subject : in_.subjects) subject->stop();
  }

  void run() {
    for (const auto& subject : in_.subjects) {
      running_.push_back(subject.get());
      unless_left_out(*subject, [&] {
        view_.describe(fmt::format("loading {}", subject->name()));
        const auto ready = subject->start(patience_);
        in_.records.write("subject", subject_record(*subject, in_.model, ready));
      });
    }
    for (const auto& load : in_.plan.loads) run_load(load);
    if (in_.sweep != nullptr) run_sweep();
  }

 private:
  void run_load(const PlannedLoad& load) {
    const auto subjects = running_;  // some may not come through their warm-up
    for (Subject* subject : subjects) {
      unless_left_out(*subject, [&] {
        for (std::size_t i = 0; i < load.warm_ups.size(); ++i) {
          run_once(*subject, load, load.warm_ups[i], static_cast<int>(i), Phase::kWarmUp);
        }
      });
    }
    for (std::size_t i = 0; i < load.repetitions.size(); ++i) {
      for (Subject* subject : running_) {
        run_once(*subject, load, load.repetitions[i], static_cast<int>(i), Phase::kMeasure);
      }
    }
  }

  /// Runs `work`; where the bench may go on without the subject and the subject dies in it, it is
  /// left out from here on.
  template <class Work>
  void unless_left_out(Subject& subject, const Work& work) {
    const bool may_be_left_out = in_.leaves_out_failing && subject.kind() == "pytorch";
    try {
      work();
    } catch (const ResourceError& error) {
      if (!may_be_left_out) throw;
      subject.stop();
      std::erase(running_, &subject);
      in_.records.write("left_out", {{"subject", subject.name()}, {"why", error.what()}});
      view_.clear();
      if (in_.note) in_.note(fmt::format("without {}: {}", subject.name(), error.what()));
    }
  }

  /// One probe of each subject after the other, until every search has ended.
  void run_sweep() {
    SweepInputs const& sweep = *in_.sweep;
    const auto subjects = running_;
    std::vector<SubjectSweep> sweeps;
    for (Subject* subject : subjects) sweeps.emplace_back(*subject, sweep);
    bool any = true;
    for (int round = 0; any; ++round) {
      any = false;
      for (auto& one : sweeps) {
        const auto point = one.next_point();
        if (!point) continue;
        any = true;
        const auto requests = one.requests(*point);
        const auto result =
            run_once(one.subject(), {*point, {}, {}}, requests, round, Phase::kProbe);
        one.judge(*point, result);
      }
    }
    for (const auto& one : sweeps) in_.records.write("sweep", one.record());
    run_load(common_load(sweep, sweeps));
  }

  /// The highest rate that every subject meets, for the repetitions; where none meets any, the
  /// lowest that was tried.
  PlannedLoad common_load(const SweepInputs& sweep, const std::vector<SubjectSweep>& sweeps) const {
    double rate = sweep.first_rate_req_s;
    for (std::size_t i = 0; i < sweeps.size(); ++i) {
      const double own = sweeps[i].best_rate_req_s();
      rate = i == 0 ? own : std::min(rate, own);
    }
    PlannedLoad load;
    load.point = rate_point(sweep.options, rate);
    for (int i = 0; i < sweep.options.num_repetitions; ++i) {
      load.repetitions.push_back(sweep.maker.make(load.point, load.point.num_requests));
    }
    return load;
  }

  RunResult run_once(Subject& subject, const PlannedLoad& planned,
                     const std::vector<WorkloadRequest>& requests, int repetition, Phase phase) {
    const RunLabel label{
        subject.name(), planned.point.scenario,  planned.point.concurrency, repetition,
        phase,          planned.point.rate_req_s};
    view_.describe(
        fmt::format("{} {}{}, {} {}", label.subject, label.scenario,
                    label.concurrency > 0 ? fmt::format(" x{}", label.concurrency) : std::string(),
                    phase == Phase::kWarmUp  ? "warm-up"
                    : phase == Phase::kProbe ? "probe"
                                             : "repetition",
                    repetition + 1));
    if (in_.interrupted && in_.interrupted()) throw Interrupted();
    std::optional<CanaryReading> canary_before;
    if (phase == Phase::kMeasure) canary_before = read_canary();
    const double others_before = processor_seconds_of_others(subject);
    DeviceSampler sampler(subject.process_id(), in_.energy, in_.gpu);
    patience_.on_progress = [&](const RunProgress& progress) {
      view_.advance_within(
          static_cast<double>(progress.completed) / static_cast<double>(requests.size()), progress,
          sampler.latest_power_w());
    };
    auto result =
        run_or_record_failure(subject,
                              {phase, label.concurrency, requests,
                               in_.traces_steps && phase == Phase::kMeasure, in_.shows_progress},
                              label);
    const auto samples = sampler.take();
    const double others = processor_seconds_of_others(subject) - others_before;
    if (canary_before) {
      const auto canary_after = read_canary();
      in_.records.write("canary", canary_record(label, false, *canary_before));
      in_.records.write("canary", canary_record(label, true, canary_after));
    }
    auto run = run_record(label, result, others);
    run["memory"] = memory_record(subject);
    in_.records.write("run", std::move(run));
    write_requests(label, requests, result);
    write_samples(label, samples);
    for (const auto& step : result.steps) in_.records.write("step", step_record(label, step));
    view_.finish_step();
    return result;
  }

  CanaryReading read_canary() {
    const double memory = in_.canary.read_bytes_per_s();
    const auto weights = weight_bytes_per_step(in_.model.config, in_.model.dtype, {});
    if (weights >= in_.canary.buffer_bytes()) return {memory, memory};
    return {memory, in_.canary.read_bytes_per_s(weights)};
  }

  /// A subject that dies fails every request of its run: they must not vanish from the statistics.
  RunResult run_or_record_failure(Subject& subject, const Load& load, const RunLabel& label) {
    const auto start_ns = now_ns();
    try {
      return subject.run(load, patience_);
    } catch (const ResourceError& error) {
      for (const auto& request : load.requests) {
        RequestResult failed;
        failed.id = request.id;
        failed.start_ns = failed.intended_start_ns = start_ns;
        failed.error = error.what();
        in_.records.write("request", request_record(label, request, failed));
      }
      throw;
    }
  }

  void write_requests(const RunLabel& label, const std::vector<WorkloadRequest>& requests,
                      const RunResult& result) {
    for (std::size_t i = 0; i < requests.size(); ++i) {
      IOL_CHECK(result.requests[i].id == requests[i].id);
      in_.records.write("request", request_record(label, requests[i], result.requests[i]));
    }
  }

  void write_samples(const RunLabel& label, const std::vector<DeviceSample>& samples) {
    if (label.phase == Phase::kWarmUp) return;
    for (const auto& sample : samples) {
      in_.records.write("device_sample",
                        device_sample_record(label, sample, in_.energy.unavailable_reason()));
      if (in_.gpu != nullptr && sample.gpu)
        in_.records.write("device_sample", gpu_sample_record(label, sample, *in_.gpu));
    }
  }

  double processor_seconds_of_others(const Subject& running) const {
    double seconds = 0;
    for (const auto& subject : in_.subjects) {
      if (subject.get() == &running || !subject->process_id()) continue;
      seconds += read_process_status(*subject->process_id()).processor_seconds.value_or(0);
    }
    return seconds;
  }

  const RunnerInputs& in_;
  std::vector<Subject*> running_;  // those that haven't been left out
  Patience patience_;
  LiveView view_;
};

}  // namespace

bool run_bench(const RunnerInputs& inputs) {
  try {
    Runner(inputs).run();
    return true;
  } catch (const Interrupted&) {
    return false;
  }
}

}  // namespace iol::bench
