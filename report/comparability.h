#pragma once
// Whether two results folders may be held against each other at all.
#include <string>
#include <vector>

#include "report/records.h"

namespace iol::report {

/// Throws InputError of one line when the two are the same run, have no subject in common, were of
/// different models (by hash, by name without one) or of different workloads (lengths, requests,
/// seed). Returns notes about what may differ and should be known: the machine, its bandwidth, the
/// number of threads, the time between the two.
std::vector<std::string> check_comparable(const Records& base, const Records& next,
                                          bool are_interleaved);

}  // namespace iol::report
