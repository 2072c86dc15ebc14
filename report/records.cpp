#include "report/records.h"

#include <algorithm>
#include <fstream>
#include <utility>

#include "base/error.h"
#include "report/parse_records.h"

namespace iol::report {
namespace {

constexpr std::int64_t kSchemaVersion = 1;

/// Gathers the lines of one file and checks what only the whole can tell.
class RecordCollector {
 public:
  explicit RecordCollector(std::filesystem::path file) : file_(std::move(file)) {}

  void add_line(const Json& json, std::int64_t line) {
    const std::string where = fmt::format("{}:{}", file_.string(), line);
    const std::string type = JsonFields(json, where, "record").string("record_type");
    const JsonFields fields(json, where, type);
    check_run(fields, where);
    if (type == "environment") {
      set_environment(fields, where);
    } else if (type == "subject") {
      add_subject(fields, where);
    } else if (type == "request") {
      RequestRecord request = parse_request(fields);
      request.line = line;
      add_request(std::move(request), fields);
    } else if (type == "canary") {
      CanaryRecord canary = parse_canary(fields);
      if (is_measured(fields)) records_.canaries.push_back(std::move(canary));
    } else if (type == "run") {
      RunRecord run = parse_run(fields);
      if (is_measured(fields)) records_.runs.push_back(std::move(run));
    } else if (type == "step") {
      records_.steps.push_back(parse_step(fields));
    } else if (type == "sweep") {
      records_.sweeps.push_back(parse_sweep(fields, where));
    } else if (type == "left_out") {
      left_out_.push_back({fields.string("subject"), fields.string("why")});
    } else if (type == "device_sample") {
      records_.device_samples.push_back(parse_device_sample(fields));
      note_missing_power(fields);
    } else if (type == "quality") {
      records_.qualities.push_back(parse_quality(fields));
    } else if (type == "cost") {
      records_.costs.push_back(json);
    }
  }

  void add_note(std::string note) { records_.notes.push_back(std::move(note)); }

  Records finish() && {
    if (records_.run_id.empty()) {
      throw_input_error("{}: no records; run 'iol bench' again", file_.string());
    }
    if (!has_environment_) {
      throw_input_error("{}: no environment record; the start of the file is missing",
                        file_.string());
    }
    for (const RequestRecord& request : records_.requests) check_subject(request.run.subject);
    for (const CanaryRecord& canary : records_.canaries) check_subject(canary.run.subject);
    for (const SweepRecord& sweep : records_.sweeps) check_subject(sweep.subject);
    for (const NotMeasured& left_out : left_out_) forget(left_out);
    records_.folder = file_.parent_path();
    return std::move(records_);
  }

 private:
  void check_run(const JsonFields& fields, const std::string& where) {
    const std::int64_t version = fields.integer("schema_version");
    if (version != kSchemaVersion) {
      throw_input_error(
          "{}: records of schema version {}, but this iol reads version {}; use the "
          "version that wrote them",
          where, version, kSchemaVersion);
    }
    const std::string run_id = fields.string("run_id");
    if (run_id.empty()) fields.fail("run_id", "a name that isn't empty");
    if (records_.run_id.empty()) records_.run_id = run_id;
    if (records_.run_id != run_id) {
      throw_input_error(
          "{}: run '{}' begins in a file of run '{}'; keep one run per folder and "
          "give 'iol report' both folders",
          where, run_id, records_.run_id);
    }
  }

  /// A subject that was left out before anything of it was measured vanishes, with the reason.
  void forget(const NotMeasured& left_out) {
    const auto is_its = [&](const RequestRecord& request) {
      return request.run.subject == left_out.what;
    };
    const auto measured =
        std::any_of(records_.requests.begin(), records_.requests.end(),
                    [&](const auto& request) { return is_its(request) && !request.warmup; });
    if (measured) {
      records_.notes.push_back(left_out.what + " ended early: " + left_out.why);
      return;
    }
    records_.environment.not_measured.push_back(left_out);
    std::erase_if(records_.requests, is_its);
    std::erase_if(records_.subjects,
                  [&](const SubjectRecord& subject) { return subject.name == left_out.what; });
  }

  /// What a sweep's probes found is in its record; their requests are for other tools.
  void add_request(RequestRecord request, const JsonFields& fields) {
    if (fields.object("metadata").string("phase") == "probe") return;
    records_.requests.push_back(std::move(request));
  }

  void set_environment(const JsonFields& fields, const std::string& where) {
    if (has_environment_) {
      throw_input_error("{}: a second environment record; one run has one", where);
    }
    has_environment_ = true;
    records_.environment = parse_environment(fields);
  }

  void add_subject(const JsonFields& fields, const std::string& where) {
    SubjectRecord subject = parse_subject(fields);
    if (records_.find_subject(subject.name) != nullptr) {
      throw_input_error("{}: subject '{}' is described twice", where, subject.name);
    }
    records_.subjects.push_back(std::move(subject));
  }

  void note_missing_power(const JsonFields& fields) {
    auto& reason = records_.power_unavailable;
    if (reason.empty()) reason = fields.optional_string("power_unavailable").value_or("");
  }

  void check_subject(const std::string& name) const {
    if (records_.find_subject(name) == nullptr) {
      throw_input_error("{}: subject '{}' has records but no subject record; the file is damaged",
                        file_.string(), name);
    }
  }

  std::filesystem::path file_;
  Records records_;
  std::vector<NotMeasured> left_out_;  // subject and reason
  bool has_environment_ = false;
};

std::filesystem::path records_file(const std::filesystem::path& folder) {
  std::error_code error;
  if (std::filesystem::is_regular_file(folder, error)) return folder;
  if (!std::filesystem::is_directory(folder, error)) {
    throw_input_error("{}: no such results folder", folder.string());
  }
  const auto file = folder / "records.jsonl";
  if (!std::filesystem::exists(file, error)) {
    throw_input_error("{}: no records.jsonl here; give the folder that 'iol bench' wrote",
                      folder.string());
  }
  return file;
}

}  // namespace

std::optional<double> RequestRecord::tpot_ms() const {
  if (!e2e_ms || !ttft_ms || output_tokens < 2) return std::nullopt;
  return (*e2e_ms - *ttft_ms) / static_cast<double>(output_tokens - 1);
}

const SubjectRecord* Records::find_subject(std::string_view name) const {
  for (const SubjectRecord& subject : subjects) {
    if (subject.name == name) return &subject;
  }
  return nullptr;
}

Records read_records(const std::filesystem::path& folder) {
  const auto file = records_file(folder);
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw_input_error("{}: can't be opened for reading", file.string());
  RecordCollector collector(file);
  std::string text;
  for (std::int64_t line = 1; std::getline(stream, text); ++line) {
    const bool cut_off = stream.eof();  // no line break behind it: the last line
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!json.is_discarded()) {
      collector.add_line(json, line);
    } else if (cut_off) {
      collector.add_note(fmt::format(
          "The last record (line {}) is cut off, as by a killed run; it was skipped.", line));
    } else {
      throw_input_error("{}:{}: not a JSON record; the file is damaged or foreign", file.string(),
                        line);
    }
  }
  if (stream.bad()) throw_input_error("{}: reading failed half-way", file.string());
  return std::move(collector).finish();
}

}  // namespace iol::report
