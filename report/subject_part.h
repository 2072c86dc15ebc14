#pragma once
// One subject's part of a run.
#include <cstdint>
#include <limits>
#include <string>

#include "report/records.h"

namespace iol::report {

/// Requests, canaries and runs of `subject` in the repetitions [first, first + count), as the
/// records of a bench of its own, whose run is "RUN, SUBJECT", whose one subject is called `as` and
/// whose repetitions begin with 0. Two such parts of one bench can be compared as two folders can,
/// but interleaved. Throws InputError when there is no such subject.
Records subject_part(const Records& records, const std::string& subject, const std::string& as,
                     std::int64_t first = 0,
                     std::int64_t count = std::numeric_limits<std::int64_t>::max());

}  // namespace iol::report
