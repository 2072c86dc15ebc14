#pragma once
// The records of one run (`records.jsonl`: one JSON object a line), as plain structs.
//
// Every record has `record_type`, `schema_version` (1) and `run_id`. The fields read here:
//
//   environment    any fields; shown as they are. Read by name: `command`, `revision`, `seed`,
//                  `started_at` (text), `slo` {`ttft_ms`, `tpot_ms`, `e2e_ms`},
//                  `canary_read_bytes_per_s` (number), `not_measured` [{`what`, `why`}],
//                  `ladder` {`kv_cache_bytes`, `kv_sequences`,
//                  `rungs` [{`subject`, `label`, `change`, `lever`}]}
//   subject        `name`, `label`, `kind`, `model` {`name`, `hash`, `synthetic`}, settings under
//                  any name; `weight_bytes_per_step`, `kv_bytes_per_token` (null when unknown)
//   request        `metadata` {`request_id`, `subject`, `scenario`, `concurrency`, `repetition`,
//                  `phase`, `intended_start_ns`, `start_ns`, `end_ns`, `requested_output_tokens`,
//                  `output_hash` (equal for equal token ids)},
//                  `metrics` {name: {`value`, `unit`}}, `error` null or {`type`, `message`}
//   canary         `subject`, `scenario`, `concurrency`, `repetition` of the run it stands beside,
//                  `phase`, `position` (`before` | `after`), `read_bytes_per_s`,
//                  `weights_read_bytes_per_s` (of a working set as large as the weights; optional)
//   run            the same key, `phase`, `start_ns`, `end_ns`, `others_processor_s` (processor
//                  time that the idle subjects used meanwhile), `details`.`engine`.`load`
//                  {`running_mean`, `kv_blocks_used_mean`, `kv_block_tokens`}: means over steps;
//                  of an open loop `rate_req_s` (not of a trace's own times) and
//                  `details`.`generator` {`lateness_p99_ms`, `processor_s`, `in_flight_max`}
//                  of a server `details`.`usage` {`requests`, `without_usage`,
//                  `checked_with_tokenizer`, `differs_from_tokenizer`, `cached_prompt_tokens`}
//   sweep          `subject`, `arrival`, `slo`, `percentile`, `seconds_per_probe`,
//                  `highest_rate_req_s`, `lowest_missed_rate_req_s`, `probes` [{`rate_req_s`,
//                  `passed`, `ttft_p99_ms`, `tpot_p99_ms`, `e2e_p99_ms`,
//                  `output_throughput_tok_s`, ...}]
//   left_out       `subject`, `why`: it died before its first measured run
//   device_sample  `t_ns`, `device`, `subject` (when the sample is of one subject's process),
//                  `power_w` or null and `power_unavailable` (why), `energy_joules` (the
//                  device's counter; optional),
//                  `memory_used_bytes`, `memory_reserved_bytes`, `sm_clock_mhz` and
//                  `throttle_reasons` (a GPU's), ...
//   quality        `subject`, `perplexity`, `perplexity_ratio`, `kl_divergence_nats`,
//                  `top1_agreement`, of each a 95 % interval [low, high] or null
//                  (`perplexity_ci95`, `perplexity_ratio_ci95`, `kl_divergence_ci95_nats`,
//                  `top1_agreement_ci95`), `text`, `tokens`, `reference`
//   cost           any fields, passed on to summary.json
//
//   step           the key of its run, `t_ns`, `duration_ns`, `host_ns`, `prefill_tokens`,
//                  `decode_tokens`, `running`, `waiting`, `blocks_used`
//
// Other record types (`summary`, those of a later version) are skipped.
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "report/json_fields.h"
#include "report/statistics.h"

namespace iol::report {

/// Service-level objectives; a request must meet all that are set.
struct Slo {
  std::optional<double> ttft_ms;
  std::optional<double> tpot_ms;
  std::optional<double> e2e_ms;
  bool any() const { return ttft_ms || tpot_ms || e2e_ms; }
};

/// Something the run could not measure, and why.
struct NotMeasured {
  std::string what;
  std::string why;
};

/// One rung of a ladder: a subject, and the one thing that differs from the rung before.
struct RungRecord {
  std::string subject;
  std::string label;
  std::string change;
  std::string lever;  // in_flight_batching, paged_kv_cache, quantized_weights, ...
};

struct LadderRecord {
  double kv_cache_bytes = 0;      // of each rung of ours
  std::int64_t kv_sequences = 1;  // of the longest request that these hold, unquantized
  std::vector<RungRecord> rungs;
};

struct EnvironmentRecord {
  Json fields = Json::object();  // everything but record_type, schema_version and run_id
  std::string command;
  Slo slo;
  std::optional<double> canary_read_bytes_per_s;
  std::vector<NotMeasured> not_measured;
  std::optional<LadderRecord> ladder;
};

struct SubjectRecord {
  std::string name;
  std::string label;  // what people call it; the name when the record has none
  std::string kind;   // pytorch, iol, openai
  std::string model_name;
  bool synthetic = false;
  std::optional<double> weight_bytes_per_step;
  std::optional<double> kv_bytes_per_token;
  std::optional<double> memory_reserved_bytes;
  std::optional<std::int64_t> max_batch;  // sequences that it runs at once, at most
  std::optional<double> weights_bytes;    // in memory
  Json fields = Json::object();
};

struct RequestError {
  std::string type;
  std::string message;
};

/// What a request belongs to: one subject under one scenario at one concurrency, one repetition.
struct RunKey {
  std::string subject;
  std::string scenario;          // latency, throughput, "poisson 5 req/s"
  std::int64_t concurrency = 1;  // sequences in flight in a closed loop; 0: an open one
  std::int64_t repetition = 0;
  auto operator<=>(const RunKey&) const = default;
};

struct RequestRecord {
  std::int64_t line = 0;  // of the file, from 1
  std::string request_id;
  RunKey run;
  bool warmup = false;
  std::int64_t intended_start_ns = 0;
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  std::optional<double> ttft_ms;  // from the intended start
  std::optional<double> e2e_ms;   // intended start to last token
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::optional<std::int64_t> requested_output_tokens;
  std::vector<double> itl_ms;  // one per emitted chunk but the first
  std::optional<std::int64_t> accepted_draft_tokens;
  std::string output_hash;  // empty when the record has none
  std::optional<RequestError> error;

  bool succeeded() const { return !error.has_value(); }
  /// (e2e - ttft) / (output_tokens - 1); absent for one token, whatever the record says.
  std::optional<double> tpot_ms() const;
};

struct CanaryRecord {
  RunKey run;
  bool after = false;
  double read_bytes_per_s = 0;
  std::optional<double> weights_read_bytes_per_s;
};

/// How well a load generator kept its times.
struct GeneratorRecord {
  double lateness_p99_ms = 0;
  double processor_s = 0;
  std::int64_t in_flight_max = 0;
};

/// How far a server's own counts can be trusted.
struct UsageRecord {
  std::int64_t requests = 0;  // answered
  std::int64_t without_usage = 0;
  std::int64_t checked = 0;  // with the model's own tokenizer
  std::int64_t differs = 0;
  std::int64_t cached_prompt_tokens = 0;  // found in the server's prefix cache
};

/// What a run as a whole recorded beside its requests.
struct RunRecord {
  RunKey run;
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  std::optional<double> others_processor_s;
  std::optional<double> running_mean;             // sequences in a step, mean over the run's steps
  std::optional<double> kv_tokens_reserved_mean;  // of all of them together
  std::optional<double> rate_req_s;               // of an open loop
  std::optional<GeneratorRecord> generator;       // of an open loop
  std::optional<UsageRecord> usage;               // of a server
};

/// One step of our engine.
struct StepRecord {
  RunKey run;
  std::int64_t t_ns = 0;
  std::int64_t duration_ns = 0;
  std::int64_t host_ns = 0;  // of which outside the forward pass
  std::int64_t prefill_tokens = 0;
  std::int64_t decode_tokens = 0;
  std::int64_t running = 0;
  std::int64_t waiting = 0;
  std::int64_t blocks_used = 0;
};

/// One rate that a sweep tried.
struct ProbeRecord {
  double rate_req_s = 0;
  bool passed = false;
  std::int64_t requests = 0;
  std::int64_t failed = 0;
  std::optional<double> ttft_p99_ms;
  std::optional<double> tpot_p99_ms;
  std::optional<double> e2e_p99_ms;
  std::optional<double> output_throughput_tok_s;
};

/// The search for the highest rate at which a subject meets its objectives.
struct SweepRecord {
  std::string subject;
  std::string arrival;
  double seconds_per_probe = 0;
  std::optional<double> highest_rate_req_s;
  std::optional<double> lowest_missed_rate_req_s;
  std::vector<ProbeRecord> probes;
  Json fields = Json::object();
};

struct DeviceSample {
  std::int64_t t_ns = 0;
  std::string device;
  std::optional<std::string> subject;
  std::optional<double> power_w;
  std::optional<double> energy_joules;  // the device's own counter
  std::optional<double> memory_used_bytes;
  std::optional<double> memory_reserved_bytes;
  std::optional<double> sm_clock_mhz;  // of a GPU
  std::string throttle_reasons;        // what slows it down; empty: nothing, or not known
};

struct QualityRecord {
  std::string subject;
  std::optional<double> perplexity;
  std::optional<double> perplexity_ratio;  // to the reference's
  std::optional<double> kl_divergence_nats;
  std::optional<double> top1_agreement;
  std::optional<Interval> perplexity_ci95;
  std::optional<Interval> perplexity_ratio_ci95;
  std::optional<Interval> kl_divergence_ci95_nats;
  std::optional<Interval> top1_agreement_ci95;
  std::string text;
  std::string reference;
  std::int64_t tokens = 0;
  Json fields = Json::object();
};

/// One run's records, in the order of the file. Canaries and runs of the warm-up are left out.
struct Records {
  std::string run_id;
  std::filesystem::path folder;
  EnvironmentRecord environment;
  std::vector<SubjectRecord> subjects;
  std::vector<RequestRecord> requests;
  std::vector<CanaryRecord> canaries;
  std::vector<RunRecord> runs;
  std::vector<SweepRecord> sweeps;
  std::vector<StepRecord> steps;
  std::vector<DeviceSample> device_samples;
  std::string power_unavailable;  // why no power could be read; empty when it could
  std::vector<QualityRecord> qualities;
  std::vector<Json> costs;
  std::vector<std::string> notes;  // what a reader of the report must know about the file

  const SubjectRecord* find_subject(std::string_view name) const;
};

/// Reads `folder`/records.jsonl. A last line without a line break that isn't valid JSON is a killed
/// run's: it is skipped and noted. Everything else that is broken (no such file, no records, text
/// that isn't JSON, a field of the wrong type, records of two runs, a newer schema) throws
/// InputError with one line that names file and line.
Records read_records(const std::filesystem::path& folder);

}  // namespace iol::report
