#pragma once
#include <nlohmann/json.hpp>
#include <optional>

namespace iol::bench {

/// What isn't known is null in a record.
template <class Value>
nlohmann::json or_null(const std::optional<Value>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

}  // namespace iol::bench
