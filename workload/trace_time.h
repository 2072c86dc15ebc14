#pragma once
// Times of day as traces write them.
#include <cstdint>
#include <optional>
#include <string_view>

namespace iol {

/// Nanoseconds since 1970 (UTC) of "2023-11-16 18:15:46.6805900", with a blank or T between, any
/// number of digits of a second (cut at nanoseconds), and nothing, Z or +02:00 behind; no zone
/// means UTC. Nothing for any other text, a day or hour that doesn't exist, a year outside 1970 to
/// 2200.
std::optional<std::int64_t> parse_time_ns(std::string_view text);

}  // namespace iol
