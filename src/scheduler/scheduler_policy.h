#pragma once
#include <cstdint>

namespace iol {

/// When requests may join a batch.
enum class SchedulerPolicy : std::uint8_t {
  kInFlight,  // at every step
  kStatic,    // only when every request of the batch before has ended
};

}  // namespace iol
