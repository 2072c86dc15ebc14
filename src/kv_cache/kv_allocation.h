#pragma once
#include <cstdint>

namespace iol {

/// How a sequence gets the blocks of its keys and values.
enum class KvAllocation : std::uint8_t {
  kPaged,       // one block at a time, any ids
  kContiguous,  // one run of consecutive ids for its whole maximum length, at admission
};

}  // namespace iol
