#include "base/error.h"

namespace iol {

void throw_check_failed(const char* file, int line, const char* condition) {
  throw InternalError(fmt::format("internal error: '{}' does not hold at {}:{}; please report it",
                                  condition, file, line));
}

}  // namespace iol
