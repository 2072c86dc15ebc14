#include "report/comparability.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "base/error.h"
#include "report/format.h"
#include "report/runs.h"

namespace iol::report {
namespace {

using Path = std::vector<const char*>;

/// The field at a path of names, or null.
const Json* field_at(const Json& json, const Path& path) {
  const Json* place = &json;
  for (const char* name : path) {
    if (!place->is_object()) return nullptr;
    const auto found = place->find(name);
    if (found == place->end() || found->is_null()) return nullptr;
    place = &*found;
  }
  return place;
}

std::string shown(const Json* value) {
  if (value == nullptr) return "absent";
  std::string text = value->is_string() ? value->get<std::string>() : value->dump();
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

bool differ(const Json* a, const Json* b) {
  if (a == nullptr || b == nullptr) return a != b;
  return *a != *b;
}

void check_models(const Records& base, const Records& next) {
  bool any = false;
  for (const SubjectRecord& subject : base.subjects) {
    const SubjectRecord* other = next.find_subject(subject.name);
    if (other == nullptr) continue;
    any = true;
    const Json* hash = field_at(subject.fields, {"model", "hash"});
    const Json* other_hash = field_at(other->fields, {"model", "hash"});
    const bool have_hashes = hash != nullptr && other_hash != nullptr;
    if (have_hashes ? *hash != *other_hash : subject.model_name != other->model_name) {
      throw_input_error(
          "{} and {}: subject '{}' ran other models ({} {}, and {} {}); compare runs of one model",
          base.folder.string(), next.folder.string(), subject.name, subject.model_name,
          have_hashes ? shown(hash) : "", other->model_name, have_hashes ? shown(other_hash) : "");
    }
  }
  if (!any) {
    throw_input_error("{} and {}: no subject of the same name in both; bench the same engines",
                      base.folder.string(), next.folder.string());
  }
}

void check_workloads(const Records& base, const Records& next) {
  struct Field {
    Path path;
    const char* option;
  };
  const std::vector<Field> fields = {{{"load", "input_tokens"}, "--input-tokens"},
                                     {{"load", "output_tokens"}, "--output-tokens"},
                                     {{"load", "output_limit"}, "--ladder, output limit"},
                                     {{"seed"}, "--seed"}};
  for (const Field& field : fields) {
    const Json* before = field_at(base.environment.fields, field.path);
    const Json* after = field_at(next.environment.fields, field.path);
    if (!differ(before, after)) continue;
    throw_input_error("{} and {}: different workloads: {} {} and {}; bench both alike",
                      base.folder.string(), next.folder.string(), field.option, shown(before),
                      shown(after));
  }
  const Json* base_loads = field_at(base.environment.fields, {"load", "loads"});
  const Json* next_loads = field_at(next.environment.fields, {"load", "loads"});
  if (base_loads == nullptr || next_loads == nullptr) return;
  for (const Json& before : *base_loads) {
    for (const Json& after : *next_loads) {
      const auto same = [&](const char* name) {
        return !differ(field_at(before, {name}), field_at(after, {name}));
      };
      if (!same("scenario") || !same("concurrency") || same("requests")) continue;
      throw_input_error(
          "{} and {}: different workloads: {} and {} requests a repetition under {}, concurrency "
          "{}; "
          "bench both with the same --requests",
          base.folder.string(), next.folder.string(), shown(field_at(before, {"requests"})),
          shown(field_at(after, {"requests"})), shown(field_at(before, {"scenario"})),
          shown(field_at(before, {"concurrency"})));
    }
  }
}

}  // namespace

std::vector<std::string> check_comparable(const Records& base, const Records& next,
                                          bool are_interleaved) {
  if (base.run_id == next.run_id) {
    throw_input_error("{} and {}: both are run '{}'; give two runs", base.folder.string(),
                      next.folder.string(), base.run_id);
  }
  check_models(base, next);
  check_workloads(base, next);
  std::vector<std::string> notes;
  if (!are_interleaved) {
    notes.push_back(
        "The two were run one after the other, not interleaved: what changed on the machine "
        "between them is part of the difference, and no interval shows it.");
  }
  const std::vector<std::pair<Path, const char*>> machine = {
      {{"machine", "cpu_model"}, "processors"},
      {{"machine", "gpus"}, "GPUs"},
      {{"threads"}, "numbers of threads"},
      {{"software", "compiler"}, "compilers"}};
  for (const auto& [path, what] : machine) {
    const Json* before = field_at(base.environment.fields, path);
    const Json* after = field_at(next.environment.fields, path);
    if (!differ(before, after)) continue;
    notes.push_back(fmt::format("Different {}: {} and {}.", what, shown(before), shown(after)));
  }
  const auto before = base.environment.canary_read_bytes_per_s;
  const auto after = next.environment.canary_read_bytes_per_s;
  if (before && after && std::abs(*after / *before - 1) > kMarkFraction) {
    notes.push_back(fmt::format("The canary read memory at {} before BASE and {} before NEW.",
                                format_bandwidth(*before), format_bandwidth(*after)));
  }
  return notes;
}

}  // namespace iol::report
