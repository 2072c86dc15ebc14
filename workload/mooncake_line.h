#pragma once
// The usual line of a Mooncake trace, read without a JSON parser.
#include <cstdint>
#include <string_view>
#include <vector>

namespace iol {

/// As the line has them, unchecked.
struct MooncakeLine {
  std::int64_t timestamp_ms = 0;
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
};

/// Reads `{"timestamp": N, "input_length": N, "output_length": N, "hash_ids": [N, ...]}`: these
/// four names once each in any order, and plain whole numbers of at most 18 digits. False for every
/// other line, right or wrong: that is for a JSON parser to say. `block_ids` is then of no meaning.
bool read_mooncake_line(std::string_view line, MooncakeLine& values,
                        std::vector<std::int64_t>& block_ids);

}  // namespace iol
