#pragma once
// Errors of the library. Each message is one line: what is wrong, where, and what to do.
#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace iol {

/// Base of every exception the library throws on purpose.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The caller's input is at fault: a missing or broken file, an impossible option (exit code 2).
class InputError : public Error {
 public:
  using Error::Error;
};

/// The machine can't do it: not enough memory, a full disk (exit code 1).
class ResourceError : public Error {
 public:
  using Error::Error;
};

/// The device is lost: whatever is asked of it from now on fails as well (exit code 1).
class DeviceError : public ResourceError {
 public:
  using ResourceError::ResourceError;
};

/// An invariant of the program is broken; thrown by IOL_CHECK (exit code 1).
class InternalError : public Error {
 public:
  using Error::Error;
};

template <class... Args>
[[noreturn]] void throw_input_error(fmt::format_string<Args...> format, Args&&... args) {
  throw InputError(fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
[[noreturn]] void throw_resource_error(fmt::format_string<Args...> format, Args&&... args) {
  throw ResourceError(fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void throw_check_failed(const char* file, int line, const char* condition);

}  // namespace iol

/// Throws InternalError when an invariant does not hold. Never for bad input.
#define IOL_CHECK(condition)                                     \
  do {                                                           \
    if (!(condition)) [[unlikely]] {                             \
      ::iol::throw_check_failed(__FILE__, __LINE__, #condition); \
    }                                                            \
  } while (false)
