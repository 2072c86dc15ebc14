#include "report/agreement.h"

#include <map>
#include <utility>

namespace iol::report {
namespace {

using RequestKey = std::pair<RunKey, std::string>;

RequestKey key_without_subject(const RequestRecord& request) {
  RunKey run = request.run;
  run.subject.clear();
  return {std::move(run), request.request_id};
}

bool comparable(const RequestRecord& request) {
  return !request.warmup && request.succeeded() && !request.output_hash.empty() &&
         !request.request_id.empty();
}

}  // namespace

std::vector<OutputAgreement> compare_outputs(const Records& records) {
  std::vector<OutputAgreement> result;
  if (records.subjects.empty()) return result;
  const std::string& baseline = records.subjects.front().name;
  std::map<RequestKey, const RequestRecord*> of_baseline;
  for (const RequestRecord& request : records.requests) {
    if (comparable(request) && request.run.subject == baseline) {
      of_baseline[key_without_subject(request)] = &request;
    }
  }
  for (const SubjectRecord& subject : records.subjects) {
    if (subject.name == baseline) continue;
    OutputAgreement agreement{baseline, subject.name, 0, 0};
    for (const RequestRecord& request : records.requests) {
      if (!comparable(request) || request.run.subject != subject.name) continue;
      const auto other = of_baseline.find(key_without_subject(request));
      if (other == of_baseline.end()) continue;
      ++agreement.compared;
      agreement.identical += other->second->output_hash == request.output_hash ? 1 : 0;
    }
    if (agreement.compared > 0) result.push_back(std::move(agreement));
  }
  return result;
}

}  // namespace iol::report
