#pragma once
#include <cstdint>

namespace iol {

/// What becomes of the keys and values of a sequence that loses its blocks to others.
enum class PreemptionMode : std::uint8_t {
  kRecompute,  // they are computed again
  kSwap,       // they wait in the host's memory; recomputed where that is full
};

}  // namespace iol
