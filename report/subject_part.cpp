#include "report/subject_part.h"

#include "base/error.h"

namespace iol::report {

Records subject_part(const Records& records, const std::string& subject, const std::string& as,
                     std::int64_t first, std::int64_t count) {
  const SubjectRecord* found = records.find_subject(subject);
  if (found == nullptr) {
    std::string names;
    for (const auto& one : records.subjects) names += (names.empty() ? "" : ", ") + one.name;
    throw_input_error("{}: no subject '{}'; it has {}", records.folder.string(), subject, names);
  }
  Records part;
  part.run_id = records.run_id + ", " + subject;
  part.folder = records.folder;
  part.environment = records.environment;
  part.subjects.push_back(*found);
  part.subjects.front().name = as;
  const auto take = [&](const auto& from, auto& to) {
    for (const auto& record : from) {
      const std::int64_t repetition = record.run.repetition - first;
      if (record.run.subject != subject || repetition < 0 || repetition >= count) continue;
      to.push_back(record);
      to.back().run.subject = as;
      to.back().run.repetition = repetition;
    }
  };
  take(records.requests, part.requests);
  take(records.canaries, part.canaries);
  take(records.runs, part.runs);
  return part;
}

}  // namespace iol::report
