#include "report/write_cost_records.h"

#include <fstream>
#include <string>

#include "base/error.h"
#include "report/records.h"
#include "report/report.h"
#include "report/write_file.h"

namespace iol::report {
namespace {

bool is_cost_record(const std::string& line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  return json.is_object() && json.value("record_type", "") == "cost";
}

}  // namespace

void write_cost_records(const std::filesystem::path& folder, const Json& records) {
  const std::string run_id = read_records(folder).run_id;  // refuses what can't be read
  const auto file = folder / "records.jsonl";
  std::ifstream stream(file, std::ios::binary);
  std::string content;
  std::string line;
  while (std::getline(stream, line)) {
    if (stream.eof() && !Json::accept(line)) break;  // a killed run's last record, cut off
    if (!is_cost_record(line)) content += line + "\n";
  }
  if (stream.bad()) throw_input_error("{}: reading failed half-way", file.string());
  for (const Json& entry : records) {
    Json record = {{"record_type", "cost"}, {"schema_version", 1}, {"run_id", run_id}};
    record.update(entry);
    content += record.dump() + "\n";
  }
  write_file_atomically(file, content);
  write_report(folder, folder);
}

}  // namespace iol::report
