#include "report/read_summary.h"

#include <fstream>
#include <map>

#include "base/error.h"
#include "report/json_fields.h"

namespace iol::report {
namespace {

constexpr std::int64_t kSchemaVersion = 1;

std::filesystem::path summary_file(const std::filesystem::path& folder) {
  std::error_code error;
  if (std::filesystem::is_regular_file(folder, error)) return folder;
  if (!std::filesystem::is_directory(folder, error)) {
    throw_input_error("{}: no such results folder", folder.string());
  }
  auto file = folder / "summary.json";
  if (!std::filesystem::is_regular_file(file, error)) {
    throw_input_error("{}: no summary.json here; 'iol report {}' writes it from the records",
                      folder.string(), folder.string());
  }
  return file;
}

const Json& array_of(const JsonFields& fields, const char* name) {
  const Json* list = fields.find(name);
  if (list == nullptr || !list->is_array()) fields.fail(name, "an array");
  return *list;
}

void check_schema(const JsonFields& fields, const std::string& where) {
  const std::int64_t version = fields.integer("schema_version");
  if (version != kSchemaVersion) {
    throw_input_error(
        "{}: a summary of schema version {}, but this iol reads version {}; use the version that "
        "wrote it",
        where, version, kSchemaVersion);
  }
}

std::optional<double> positive(const JsonFields& fields, const char* name) {
  const auto value = fields.optional_number(name);
  if (value && *value <= 0) fields.fail(name, "above 0, or null");
  return value;
}

}  // namespace

MeasuredRun read_summary(const std::filesystem::path& folder) {
  MeasuredRun run;
  run.file = summary_file(folder);
  const std::string where = run.file.string();
  std::ifstream stream(run.file, std::ios::binary);
  const Json json = Json::parse(stream, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    throw_input_error("{}: not JSON; 'iol report' writes it anew from the records", where);
  }
  const JsonFields root(json, where, "summary");
  if (root.find("runs") != nullptr) {
    throw_input_error("{}: of several runs together; give the results folder of one of them",
                      where);
  }
  const JsonFields environment = root.object("environment");
  check_schema(environment, where);
  run.run_id = environment.string("run_id");
  std::map<std::string, std::string> labels;
  for (const Json& entry : array_of(root, "subjects")) {
    const JsonFields subject(entry, where, "subjects[]");
    const std::string name = subject.string("name");
    labels[name] = subject.optional_string("label").value_or(name);
  }
  for (const Json& entry : array_of(root, "summaries")) {
    const JsonFields summary(entry, where, "summaries[]");
    check_schema(summary, where);
    MeasuredLoad load;
    load.subject = summary.string("subject");
    const auto label = labels.find(load.subject);
    load.label = label == labels.end() ? load.subject : label->second;
    load.scenario = summary.string("scenario");
    load.concurrency = summary.integer("concurrency");
    load.output_throughput_tok_s = positive(summary, "output_throughput_tok_s");
    load.power_mean_w = positive(summary, "power_mean_w");
    run.loads.push_back(std::move(load));
  }
  return run;
}

}  // namespace iol::report
