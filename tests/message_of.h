#pragma once
#include <string>

namespace iol {

/// The message of the Exception that `action` throws; a text that no test expects when it does not.
template <class Exception, class Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const Exception& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

}  // namespace iol
