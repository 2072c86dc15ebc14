#include "bench/records.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "bench/json_or_null.h"

namespace iol::bench {
namespace {

using nlohmann::json;

constexpr int kSchemaVersion = 1;

json metric(double value, std::string_view unit) { return {{"value", value}, {"unit", unit}}; }

double milliseconds(std::int64_t ns) { return static_cast<double>(ns) * 1e-6; }

/// Gaps between pieces of output, each divided by the tokens in the later piece. Tokens of one time
/// came in one piece. A server's pieces don't say how many they hold: the mean over the answer
/// stands for it.
json token_gaps(const RequestResult& result, std::int64_t num_tokens) {
  const auto& times = result.token_times_ns;
  const double tokens_per_time =
      static_cast<double>(num_tokens) / static_cast<double>(times.size());
  json gaps = json::array();
  for (std::size_t i = 0; i < times.size();) {
    std::size_t end = i + 1;
    while (end < times.size() && times[end] == times[i]) ++end;
    if (i > 0) {
      // Microsecond digits: a gap is a step of the engine, never shorter than many of them.
      const double num_piece_tokens = tokens_per_time * static_cast<double>(end - i);
      const double gap_us = static_cast<double>(times[i] - times[i - 1]) * 1e-3 / num_piece_tokens;
      gaps.push_back(std::round(gap_us) / 1000.0);
    }
    i = end;
  }
  return gaps;
}

json request_metrics(const WorkloadRequest& request, const RequestResult& result) {
  const auto& times = result.token_times_ns;
  const auto num_tokens =
      result.num_output_tokens.value_or(static_cast<std::int64_t>(times.size()));
  const auto num_input =
      result.num_input_tokens.value_or(static_cast<std::int64_t>(request.prompt_tokens.size()));
  const auto e2e_ns = times.back() - result.intended_start_ns;
  const auto ttft_ns = times.front() - result.intended_start_ns;
  json metrics = {
      {"time_to_first_token", metric(milliseconds(ttft_ns), "ms")},
      {"request_latency", metric(milliseconds(e2e_ns), "ms")},
      {"input_sequence_length", {{"value", num_input}, {"unit", "tokens"}}},
      {"output_sequence_length", {{"value", num_tokens}, {"unit", "tokens"}}},
  };
  if (result.num_accepted_drafts) {
    metrics["accepted_draft_tokens"] = {{"value", *result.num_accepted_drafts}, {"unit", "tokens"}};
  }
  if (num_tokens < 2 || times.size() < 2) return metrics;  // no gap between tokens: absent, not 0
  metrics["inter_token_latency"] =
      metric(milliseconds(e2e_ns - ttft_ns) / static_cast<double>(num_tokens - 1), "ms");
  metrics["itl"] = {{"value", token_gaps(result, num_tokens)}, {"unit", "ms"}};
  return metrics;
}

json label_fields(const RunLabel& label) {
  return {{"subject", label.subject},
          {"scenario", label.scenario},
          {"concurrency", label.concurrency},
          {"repetition", label.repetition},
          {"phase", phase_name(label.phase)}};
}

}  // namespace

RecordWriter::RecordWriter(const std::filesystem::path& path, std::string run_id)
    : path_(path), run_id_(std::move(run_id)) {
  std::error_code error;
  // A device such as a terminal or /dev/full may be written to; a file is never overwritten.
  const bool is_device = std::filesystem::is_character_file(path, error);
  file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (is_device ? 0 : O_EXCL), 0644);
  if (file_ < 0 && errno == EEXIST) {
    throw_input_error("{} exists; choose another folder with -o", path.string());
  }
  if (file_ < 0) {
    throw_resource_error("can't create {}: {}", path.string(), std::strerror(errno));
  }
}

RecordWriter::~RecordWriter() { ::close(file_); }

void RecordWriter::write(std::string_view record_type, json record) {
  record["record_type"] = record_type;
  record["schema_version"] = kSchemaVersion;
  record["run_id"] = run_id_;
  // A child's message may hold anything; what is not UTF-8 must not end the run.
  const auto line = record.dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
  std::size_t done = 0;
  while (done < line.size()) {
    const auto written = ::write(file_, line.data() + done, line.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const int reason = written < 0 ? errno : ENOSPC;
      [[maybe_unused]] const int cut = ::ftruncate(file_, size_bytes_);
      throw_resource_error(
          "can't write {}: {}; the records so far are whole; free space or choose "
          "another folder with -o",
          path_.string(), std::strerror(reason));
    }
    done += static_cast<std::size_t>(written);
  }
  size_bytes_ += static_cast<std::int64_t>(line.size());
}

std::string token_hash(std::span<const std::int32_t> tokens) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const auto token : tokens) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash ^= (static_cast<std::uint32_t>(token) >> shift) & 0xffU;
      hash *= 0x100000001b3ULL;
    }
  }
  return fmt::format("{:016x}", hash);
}

json request_record(const RunLabel& label, const WorkloadRequest& request,
                    const RequestResult& result) {
  json metadata = label_fields(label);
  metadata["request_id"] = std::to_string(request.id);
  metadata["intended_start_ns"] = result.intended_start_ns;
  metadata["start_ns"] = result.start_ns;
  metadata["requested_output_tokens"] = request.output_tokens;
  json record;
  if (result.error) {
    metadata["end_ns"] = result.start_ns;
    record["metrics"] = json::object();
    record["error"] = {{"type", "RequestFailed"}, {"message", *result.error}};
  } else {
    metadata["end_ns"] = result.token_times_ns.back();
    if (!result.tokens.empty()) metadata["output_hash"] = token_hash(result.tokens);
    record["metrics"] = request_metrics(request, result);
    record["error"] = nullptr;
  }
  record["metadata"] = std::move(metadata);
  return record;
}

json canary_record(const RunLabel& label, bool after, const CanaryReading& reading) {
  json record = label_fields(label);
  record["position"] = after ? "after" : "before";
  record["read_bytes_per_s"] = std::round(reading.memory);
  record["weights_read_bytes_per_s"] = std::round(reading.weights);
  return record;
}

json device_sample_record(const RunLabel& label, const DeviceSample& sample,
                          const std::string& no_power_reason) {
  json record = {{"t_ns", sample.t_ns},          {"device", "cpu"},
                 {"subject", label.subject},     {"power_w", nullptr},
                 {"memory_used_bytes", nullptr}, {"utilization_pct", nullptr},
                 {"sm_clock_mhz", nullptr},      {"temperature_c", nullptr}};
  if (sample.memory_used_bytes) record["memory_used_bytes"] = *sample.memory_used_bytes;
  if (sample.power_w) {
    record["power_w"] = *sample.power_w;
  } else {
    record["power_unavailable"] = no_power_reason.empty() ? "not read" : no_power_reason;
  }
  return record;
}

json gpu_state(const GpuReading& reading) {
  return {
      {"power_w", or_null(reading.power_w)},
      {"sm_clock_mhz", or_null(reading.sm_clock_mhz)},
      {"memory_clock_mhz", or_null(reading.memory_clock_mhz)},
      {"temperature_c", or_null(reading.temperature_c)},
      {"throttle_reasons",
       reading.throttle_reasons ? json(throttle_text(*reading.throttle_reasons)) : json(nullptr)}};
}

json gpu_sample_record(const RunLabel& label, const DeviceSample& sample, const GpuMonitor& gpu) {
  const GpuReading& reading = *sample.gpu;
  json record = {
      {"t_ns", sample.t_ns},
      {"device", gpu.uuid()},
      {"subject", label.subject},
      {"energy_joules", or_null(reading.energy_joules)},
      {"memory_used_bytes", or_null(reading.process_memory_bytes)},
      {"device_memory_used_bytes", or_null(reading.memory_used_bytes)},
      {"utilization_pct", or_null(reading.utilization_pct)},
  };
  record.update(gpu_state(reading));
  if (!gpu.unavailable_reason().empty()) {
    record["power_unavailable"] = gpu.unavailable_reason();
  } else {
    if (!gpu.missing().empty()) record["unavailable"] = gpu.missing();
    if (gpu.missing().contains("power_w"))
      record["power_unavailable"] = gpu.missing().at("power_w");
  }
  return record;
}

json step_record(const RunLabel& label, const json& step) {
  json record = label_fields(label);
  record.update(step);
  return record;
}

json run_record(const RunLabel& label, const RunResult& result, double others_processor_seconds) {
  json record = label_fields(label);
  record["start_ns"] = result.start_ns;
  record["end_ns"] = result.end_ns;
  record["details"] = result.details;
  if (label.rate_req_s) record["rate_req_s"] = *label.rate_req_s;
  record["others_processor_s"] = others_processor_seconds;
  return record;
}

}  // namespace iol::bench
