#pragma once
// Writes records.jsonl: one JSON object a line, each whole on disk before the next begins.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "bench/device_sampler.h"
#include "bench/subject.h"

namespace iol::bench {

/// Appends records to a file. A record is one write of a whole line; when that fails half-way, the
/// file is cut back to its last whole line.
class RecordWriter {
 public:
  /// Creates `path`; throws ResourceError when it can't be created, InputError when it exists.
  RecordWriter(const std::filesystem::path& path, std::string run_id);
  ~RecordWriter();
  RecordWriter(const RecordWriter&) = delete;
  RecordWriter& operator=(const RecordWriter&) = delete;

  /// Adds record_type, schema_version and run_id. Throws ResourceError naming the file and the
  /// reason (a full disk), with every earlier record whole.
  void write(std::string_view record_type, nlohmann::json record);
  [[nodiscard]] const std::string& run_id() const { return run_id_; }

 private:
  std::filesystem::path path_;
  std::string run_id_;
  int file_ = -1;
  std::int64_t size_bytes_ = 0;
};

/// Which run a record belongs to.
struct RunLabel {
  std::string subject;
  std::string scenario;
  int concurrency = 1;  // 0: an open loop
  int repetition = 0;
  Phase phase = Phase::kMeasure;
  std::optional<double> rate_req_s = {};  // of an open loop
};

/// The metrics follow measurement.md, in milliseconds; output_hash tells apart what was generated.
nlohmann::json request_record(const RunLabel& label, const WorkloadRequest& request,
                              const RequestResult& result);
/// What the canary read beside a run, in bytes per second.
struct CanaryReading {
  double memory;   // of memory
  double weights;  // of a working set as large as the weights of a step: of caches, if they hold it
};
nlohmann::json canary_record(const RunLabel& label, bool after, const CanaryReading& reading);
nlohmann::json device_sample_record(const RunLabel& label, const DeviceSample& sample,
                                    const std::string& no_power_reason);
/// Power, clocks, temperature and what slows a GPU down; null where it can't be read.
nlohmann::json gpu_state(const GpuReading& reading);
/// The same moment of the GPU; `memory_used_bytes` is that of the subject's process.
nlohmann::json gpu_sample_record(const RunLabel& label, const DeviceSample& sample,
                                 const GpuMonitor& gpu);
/// One step of the engine, as it says itself, with the run that it belongs to.
nlohmann::json step_record(const RunLabel& label, const nlohmann::json& step);
/// What a run as a whole says: its window, the subject's own details, the processor time that idle
/// subjects used meanwhile, notes.
nlohmann::json run_record(const RunLabel& label, const RunResult& result,
                          double others_processor_seconds);

/// 16 hexadecimal digits over the ids (FNV-1a, 64 bits): equal outputs have equal hashes.
std::string token_hash(std::span<const std::int32_t> tokens);

}  // namespace iol::bench
