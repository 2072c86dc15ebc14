#pragma once
// Do two subjects generate the same tokens for the same requests?
#include <cstdint>
#include <string>
#include <vector>

#include "report/records.h"

namespace iol::report {

/// Measured requests that both subjects served, and how many gave identical token ids.
struct OutputAgreement {
  std::string baseline;
  std::string subject;
  std::int64_t compared = 0;
  std::int64_t identical = 0;
  double fraction() const {
    return compared > 0 ? static_cast<double>(identical) / static_cast<double>(compared) : 0;
  }
};

/// Every subject against the first, by scenario, concurrency, repetition and request id; subjects
/// without a request in common, or whose records have no output hash, are left out.
std::vector<OutputAgreement> compare_outputs(const Records& records);

}  // namespace iol::report
