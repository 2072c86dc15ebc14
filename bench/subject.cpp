#include "bench/subject.h"

namespace iol::bench {

std::string_view phase_name(Phase phase) { return phase == Phase::kWarmUp ? "warmup" : "measure"; }

}  // namespace iol::bench
