#pragma once
// An audit as text for people and as JSON for programs.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "workload/advice.h"

namespace iol {

std::string audit_text(const Workload& workload, const std::vector<Advice>& advice);
nlohmann::json audit_json(const Workload& workload, const std::vector<Advice>& advice);

/// Share of the busiest hour's output rate that is used on average: what `iol cost --utilization`
/// takes when the machine is sized for that hour. Of the busiest minute for a trace under two
/// hours. Nothing without times.
struct Utilization {
  double share = 0;
  std::string sized_for;  // "busiest hour"
};
std::optional<Utilization> utilization_of(const Workload& workload);

}  // namespace iol
