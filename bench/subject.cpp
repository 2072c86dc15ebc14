#include "bench/subject.h"

namespace iol::bench {

std::string_view phase_name(Phase phase) {
  switch (phase) {
    case Phase::kWarmUp:
      return "warmup";
    case Phase::kProbe:
      return "probe";
    case Phase::kMeasure:
      return "measure";
  }
  return "measure";
}

}  // namespace iol::bench
