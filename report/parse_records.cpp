#include "report/parse_records.h"

#include "base/error.h"

namespace iol::report {
namespace {

/// Milliseconds of one metric {`value`, `unit`}; the unit is honoured, never assumed.
double milliseconds_per(const JsonFields& metric) {
  const std::string unit = metric.string("unit");
  if (unit == "ms") return 1.0;
  if (unit == "s") return 1e3;
  if (unit == "us") return 1e-3;
  if (unit == "ns") return 1e-6;
  metric.fail("unit", "ns, us, ms or s");
}

std::optional<double> duration_ms(const JsonFields& metrics, const char* name) {
  const auto metric = metrics.optional_object(name);
  if (!metric || metric->find("value") == nullptr) return std::nullopt;
  const double value = metric->number("value");
  if (value < 0) metric->fail("value", "a duration of at least 0");
  return value * milliseconds_per(*metric);
}

std::optional<std::int64_t> count(const JsonFields& metrics, const char* name) {
  const auto metric = metrics.optional_object(name);
  if (!metric || metric->find("value") == nullptr) return std::nullopt;
  const std::int64_t value = metric->integer("value");
  if (value < 0) metric->fail("value", "a count of at least 0");
  return value;
}

std::vector<double> durations_ms(const JsonFields& metrics, const char* name) {
  std::vector<double> result;
  const auto metric = metrics.optional_object(name);
  if (!metric) return result;
  const Json* values = metric->find("value");
  if (values == nullptr) return result;
  if (!values->is_array()) metric->fail("value", "an array of numbers");
  const double scale = milliseconds_per(*metric);
  result.reserve(values->size());
  for (const Json& value : *values) {
    if (!value.is_number() || value.get<double>() < 0) {
      metric->fail("value", "an array of numbers of at least 0");
    }
    result.push_back(value.get<double>() * scale);
  }
  return result;
}

RunKey run_key(const JsonFields& fields) {
  RunKey key;
  key.subject = fields.string("subject");
  key.scenario = fields.optional_string("scenario").value_or("latency");
  key.concurrency = fields.optional_integer("concurrency").value_or(1);
  key.repetition = fields.optional_integer("repetition").value_or(0);
  if (key.concurrency < 0) fields.fail("concurrency", "at least 1, or 0 of an open loop");
  return key;
}

LadderRecord parse_ladder(const JsonFields& fields) {
  LadderRecord ladder;
  ladder.kv_cache_bytes = fields.number("kv_cache_bytes");
  ladder.kv_sequences = fields.integer("kv_sequences");
  const Json* rungs = fields.find("rungs");
  if (rungs == nullptr || !rungs->is_array()) fields.fail("rungs", "an array");
  for (const Json& item : *rungs) {
    const JsonFields rung(item, "environment", "ladder.rungs[]");
    ladder.rungs.push_back({rung.string("subject"), rung.string("label"), rung.string("change"),
                            rung.string("lever")});
  }
  return ladder;
}

/// "pytorch-eager" -> "PyTorch eager"; other names stay as they are.
std::string default_label(const std::string& name) {
  constexpr std::string_view kPrefix = "pytorch";
  if (!name.starts_with(kPrefix)) return name;
  std::string label = "PyTorch" + name.substr(kPrefix.size());
  std::replace(label.begin(), label.end(), '-', ' ');
  return label;
}

void check_times(const JsonFields& metadata, const RequestRecord& record) {
  if (record.succeeded() && record.end_ns < record.intended_start_ns) {
    metadata.fail("end_ns", "no earlier than intended_start_ns");
  }
}

ProbeRecord parse_probe(const JsonFields& fields) {
  ProbeRecord probe;
  probe.rate_req_s = fields.number("rate_req_s");
  if (probe.rate_req_s <= 0) fields.fail("rate_req_s", "above 0");
  probe.passed = fields.optional_boolean("passed").value_or(false);
  probe.requests = fields.optional_integer("requests").value_or(0);
  probe.failed = fields.optional_integer("failed").value_or(0);
  probe.ttft_p99_ms = fields.optional_number("ttft_p99_ms");
  probe.tpot_p99_ms = fields.optional_number("tpot_p99_ms");
  probe.e2e_p99_ms = fields.optional_number("e2e_p99_ms");
  probe.output_throughput_tok_s = fields.optional_number("output_throughput_tok_s");
  return probe;
}

}  // namespace

EnvironmentRecord parse_environment(const JsonFields& fields) {
  EnvironmentRecord record;
  record.fields = fields.json();
  for (const char* name : {"record_type", "schema_version", "run_id"}) record.fields.erase(name);
  if (const Json* command = fields.find("command")) {
    if (!command->is_string() && !command->is_array()) fields.fail("command", "a string");
    record.command = command->is_string() ? command->get<std::string>() : command->dump();
  }
  if (const auto slo = fields.optional_object("slo")) {
    record.slo.ttft_ms = slo->optional_number("ttft_ms");
    record.slo.tpot_ms = slo->optional_number("tpot_ms");
    record.slo.e2e_ms = slo->optional_number("e2e_ms");
  }
  record.canary_read_bytes_per_s = fields.optional_number("canary_read_bytes_per_s");
  if (const Json* list = fields.find("not_measured")) {
    if (!list->is_array()) fields.fail("not_measured", "an array");
    for (const Json& item : *list) {
      const JsonFields entry(item, "environment", "not_measured[]");
      record.not_measured.push_back({entry.string("what"), entry.string("why")});
    }
  }
  if (const auto ladder = fields.optional_object("ladder")) record.ladder = parse_ladder(*ladder);
  return record;
}

SubjectRecord parse_subject(const JsonFields& fields) {
  SubjectRecord record;
  record.fields = fields.json();
  for (const char* name : {"record_type", "schema_version", "run_id"}) record.fields.erase(name);
  record.name = fields.string("name");
  record.label = fields.optional_string("label").value_or(default_label(record.name));
  record.kind = fields.optional_string("kind").value_or("");
  if (const auto model = fields.optional_object("model")) {
    record.model_name = model->optional_string("name").value_or("");
    record.synthetic = model->optional_boolean("synthetic").value_or(false);
  }
  record.weight_bytes_per_step = fields.optional_number("weight_bytes_per_step");
  record.kv_bytes_per_token = fields.optional_number("kv_bytes_per_token");
  record.memory_reserved_bytes = fields.optional_number("memory_reserved_bytes");
  if (const auto settings = fields.optional_object("settings")) {
    record.max_batch = settings->optional_integer("max_batch");
  }
  if (const auto memory = fields.optional_object("memory")) {
    record.weights_bytes = memory->optional_number("weights_bytes");
  }
  return record;
}

RequestRecord parse_request(const JsonFields& fields) {
  RequestRecord record;
  const JsonFields metadata = fields.object("metadata");
  record.request_id = metadata.optional_string("request_id").value_or("");
  record.run = run_key(metadata);
  const std::string phase = metadata.string("phase");
  if (phase != "warmup" && phase != "measure" && phase != "probe") {
    metadata.fail("phase", "'warmup', 'probe' or 'measure'");
  }
  record.warmup = phase == "warmup";
  record.intended_start_ns = metadata.integer("intended_start_ns");
  record.start_ns = metadata.optional_integer("start_ns").value_or(record.intended_start_ns);
  record.output_hash = metadata.optional_string("output_hash").value_or("");
  record.requested_output_tokens = metadata.optional_integer("requested_output_tokens");
  if (const auto error = fields.optional_object("error")) {
    record.error = RequestError{error->optional_string("type").value_or("error"),
                                error->optional_string("message").value_or("")};
  }
  record.end_ns = record.error ? metadata.optional_integer("end_ns").value_or(record.start_ns)
                               : metadata.integer("end_ns");
  check_times(metadata, record);
  // A failed request may have died before anything was measured.
  const auto metrics = record.error ? fields.optional_object("metrics") : fields.object("metrics");
  if (!metrics) return record;
  record.ttft_ms = duration_ms(*metrics, "time_to_first_token");
  record.e2e_ms = duration_ms(*metrics, "request_latency");
  if (!record.e2e_ms && record.succeeded()) {
    record.e2e_ms = static_cast<double>(record.end_ns - record.intended_start_ns) * 1e-6;
  }
  record.input_tokens = count(*metrics, "input_sequence_length").value_or(0);
  record.output_tokens = count(*metrics, "output_sequence_length").value_or(0);
  record.itl_ms = durations_ms(*metrics, "itl");
  record.accepted_draft_tokens = count(*metrics, "accepted_draft_tokens");
  if (record.succeeded() && metrics->find("output_sequence_length") == nullptr) {
    metrics->fail("output_sequence_length", "an object with value and unit");
  }
  return record;
}

CanaryRecord parse_canary(const JsonFields& fields) {
  CanaryRecord record;
  record.run = run_key(fields);
  const std::string position = fields.string("position");
  if (position != "before" && position != "after") fields.fail("position", "'before' or 'after'");
  record.after = position == "after";
  record.read_bytes_per_s = fields.number("read_bytes_per_s");
  if (record.read_bytes_per_s <= 0) fields.fail("read_bytes_per_s", "above 0");
  record.weights_read_bytes_per_s = fields.optional_number("weights_read_bytes_per_s");
  return record;
}

RunRecord parse_run(const JsonFields& fields) {
  RunRecord record;
  record.run = run_key(fields);
  record.start_ns = fields.integer("start_ns");
  record.end_ns = fields.integer("end_ns");
  record.others_processor_s = fields.optional_number("others_processor_s");
  record.rate_req_s = fields.optional_number("rate_req_s");
  const auto details = fields.optional_object("details");
  if (const auto generator = details ? details->optional_object("generator") : std::nullopt) {
    record.generator =
        GeneratorRecord{generator->number("lateness_p99_ms"), generator->number("processor_s"),
                        generator->integer("in_flight_max")};
  }
  if (const auto usage = details ? details->optional_object("usage") : std::nullopt) {
    record.usage = UsageRecord{usage->integer("requests"), usage->integer("without_usage"),
                               usage->integer("checked_with_tokenizer"),
                               usage->integer("differs_from_tokenizer"),
                               usage->integer("cached_prompt_tokens")};
  }
  const auto engine = details ? details->optional_object("engine") : std::nullopt;
  const auto load = engine ? engine->optional_object("load") : std::nullopt;
  if (!load) return record;
  record.running_mean = load->number("running_mean");
  record.kv_tokens_reserved_mean =
      load->number("kv_blocks_used_mean") * load->number("kv_block_tokens");
  return record;
}

SweepRecord parse_sweep(const JsonFields& fields, const std::string& where) {
  SweepRecord record;
  record.fields = fields.json();
  for (const char* name : {"record_type", "schema_version", "run_id"}) record.fields.erase(name);
  record.subject = fields.string("subject");
  record.arrival = fields.optional_string("arrival").value_or("");
  record.seconds_per_probe = fields.optional_number("seconds_per_probe").value_or(0);
  record.highest_rate_req_s = fields.optional_number("highest_rate_req_s");
  record.lowest_missed_rate_req_s = fields.optional_number("lowest_missed_rate_req_s");
  const Json* probes = fields.find("probes");
  if (probes == nullptr || !probes->is_array()) fields.fail("probes", "an array");
  for (const Json& probe : *probes) {
    record.probes.push_back(parse_probe(JsonFields(probe, where, "sweep.probes[]")));
  }
  return record;
}

StepRecord parse_step(const JsonFields& fields) {
  StepRecord step;
  step.run = run_key(fields);
  step.t_ns = fields.integer("t_ns");
  step.duration_ns = fields.integer("duration_ns");
  step.host_ns = fields.optional_integer("host_ns").value_or(0);
  step.prefill_tokens = fields.integer("prefill_tokens");
  step.decode_tokens = fields.integer("decode_tokens");
  step.running = fields.integer("running");
  step.waiting = fields.integer("waiting");
  step.blocks_used = fields.integer("blocks_used");
  return step;
}

bool is_measured(const JsonFields& fields) {
  const auto phase = fields.optional_string("phase");
  return phase != "warmup" && phase != "probe";
}

DeviceSample parse_device_sample(const JsonFields& fields) {
  DeviceSample sample;
  sample.t_ns = fields.integer("t_ns");
  sample.device = fields.optional_string("device").value_or("");
  sample.subject = fields.optional_string("subject");
  sample.power_w = fields.optional_number("power_w");
  sample.energy_joules = fields.optional_number("energy_joules");
  sample.memory_used_bytes = fields.optional_number("memory_used_bytes");
  sample.memory_reserved_bytes = fields.optional_number("memory_reserved_bytes");
  sample.sm_clock_mhz = fields.optional_number("sm_clock_mhz");
  sample.throttle_reasons = fields.optional_string("throttle_reasons").value_or("");
  return sample;
}

QualityRecord parse_quality(const JsonFields& fields) {
  QualityRecord record;
  record.fields = fields.json();
  for (const char* name : {"record_type", "schema_version", "run_id"}) record.fields.erase(name);
  record.subject = fields.optional_string("subject").value_or("");
  record.perplexity = fields.optional_number("perplexity");
  record.perplexity_ratio = fields.optional_number("perplexity_ratio");
  record.perplexity_ci95 = fields.optional_interval("perplexity_ci95");
  record.perplexity_ratio_ci95 = fields.optional_interval("perplexity_ratio_ci95");
  record.kl_divergence_ci95_nats = fields.optional_interval("kl_divergence_ci95_nats");
  record.top1_agreement_ci95 = fields.optional_interval("top1_agreement_ci95");
  record.kl_divergence_nats = fields.optional_number("kl_divergence_nats");
  record.top1_agreement = fields.optional_number("top1_agreement");
  record.text = fields.optional_string("text").value_or("");
  record.reference = fields.optional_string("reference").value_or("");
  record.tokens = fields.optional_integer("tokens").value_or(0);
  return record;
}

}  // namespace iol::report
