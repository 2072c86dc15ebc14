#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "backend/device.h"

namespace iol::bench {

/// What the environment record needs beside what the machine says itself.
struct RunIdentity {
  std::vector<std::string> command;  // the command line
  std::uint64_t seed = 0;
  int num_threads = 1;
  Device device = {DeviceKind::kCpu, 0};
  double canary_read_bytes_per_s = 0;
  std::int64_t canary_buffer_bytes = 0;
  nlohmann::json load = nlohmann::json::object();         // scenarios, lengths, repetitions
  nlohmann::json not_measured = nlohmann::json::array();  // [{what, why}]
};

/// Machine, software and command: all that is needed to repeat a run. What can't be read is null.
nlohmann::json environment_record(const RunIdentity& identity);

/// Processor, memory, limits and kernel of this machine.
nlohmann::json machine_record();

/// 2026-08-01T09:30:12Z
std::string utc_time_text();

}  // namespace iol::bench
