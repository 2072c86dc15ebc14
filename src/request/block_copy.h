#pragma once
#include <cstdint>

#include "request/sequence.h"

namespace iol {

/// A block of the key-value cache and its place in the host's memory, between which it is copied.
struct BlockCopy {
  BlockId block;
  std::int32_t slot;
};

}  // namespace iol
