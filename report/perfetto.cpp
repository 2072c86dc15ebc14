#include <algorithm>
#include <limits>
#include <map>

#include "base/error.h"
#include "report/export.h"

namespace iol::report {
namespace {

constexpr int kStepThread = 1;

double microseconds(std::int64_t ns) { return static_cast<double>(ns) * 1e-3; }

/// Builds the list of events; a process per subject.
class Trace {
 public:
  explicit Trace(const Records& records) : records_(records) {
    for (const RequestRecord& request : records.requests) {
      if (!request.warmup) origin_ns_ = std::min(origin_ns_, request.intended_start_ns);
    }
    for (const StepRecord& step : records.steps) origin_ns_ = std::min(origin_ns_, step.t_ns);
    for (const SubjectRecord& subject : records.subjects) {
      const int process = static_cast<int>(processes_.size()) + 1;
      processes_[subject.name] = process;
      name("process_name", process, 0, subject.label);
      name("thread_name", process, kStepThread, "steps");
    }
  }

  void add_request(const RequestRecord& request) {
    const int process = processes_.at(request.run.subject);
    const std::string what = request.succeeded() ? "request" : "failed request";
    Json event = base("b", request.intended_start_ns, process);
    event["cat"] = "request";
    event["id"] = request.run.subject + "/" + request.request_id;
    event["name"] = what;
    event["args"] = {{"scenario", request.run.scenario},
                     {"concurrency", request.run.concurrency},
                     {"repetition", request.run.repetition},
                     {"input_tokens", request.input_tokens},
                     {"output_tokens", request.output_tokens}};
    if (request.error) event["args"]["error"] = request.error->message;
    Json end = event;
    end["ph"] = "e";
    end["ts"] = microseconds(request.end_ns - origin_ns_);
    end.erase("args");
    events_.push_back(event);
    if (request.succeeded() && request.ttft_ms) {
      Json first = event;
      first["ph"] = "n";
      first["name"] = "first token";
      first["ts"] = microseconds(request.intended_start_ns - origin_ns_) + *request.ttft_ms * 1e3;
      first.erase("args");
      events_.push_back(std::move(first));
    }
    events_.push_back(std::move(end));
  }

  void add_step(const StepRecord& step) {
    const auto found = processes_.find(step.run.subject);
    if (found == processes_.end()) return;
    Json slice = base("X", step.t_ns, found->second);
    slice["tid"] = kStepThread;
    slice["dur"] = microseconds(step.duration_ns);
    slice["name"] =
        step.prefill_tokens > 0 ? (step.decode_tokens > 0 ? "mixed" : "prefill") : "decode";
    slice["args"] = {{"prefill_tokens", step.prefill_tokens},
                     {"decode_tokens", step.decode_tokens},
                     {"host_us", microseconds(step.host_ns)}};
    events_.push_back(std::move(slice));
    add_counter(step.t_ns, found->second, "sequences",
                {{"running", step.running}, {"waiting", step.waiting}});
    add_counter(step.t_ns, found->second, "KV blocks", {{"used", step.blocks_used}});
  }

  Json take() {
    if (origin_ns_ == std::numeric_limits<std::int64_t>::max()) {
      throw_input_error("{}: no measured request and no step to draw", records_.folder.string());
    }
    return {{"traceEvents", std::move(events_)}, {"displayTimeUnit", "ms"}};
  }

 private:
  Json base(const char* phase, std::int64_t t_ns, int process) const {
    return {{"ph", phase}, {"ts", microseconds(t_ns - origin_ns_)}, {"pid", process}, {"tid", 0}};
  }

  void name(const char* what, int process, int thread, const std::string& value) {
    events_.push_back({{"ph", "M"},
                       {"pid", process},
                       {"tid", thread},
                       {"name", what},
                       {"args", {{"name", value}}}});
  }

  void add_counter(std::int64_t t_ns, int process, const char* what, Json values) {
    Json counter = base("C", t_ns, process);
    counter["name"] = what;
    counter["args"] = std::move(values);
    events_.push_back(std::move(counter));
  }

  const Records& records_;
  std::map<std::string, int> processes_;
  std::int64_t origin_ns_ = std::numeric_limits<std::int64_t>::max();
  Json events_ = Json::array();
};

}  // namespace

Json perfetto_trace(const Records& records) {
  Trace trace(records);
  for (const RequestRecord& request : records.requests) {
    if (!request.warmup) trace.add_request(request);
  }
  for (const StepRecord& step : records.steps) trace.add_step(step);
  return trace.take();
}

}  // namespace iol::report
