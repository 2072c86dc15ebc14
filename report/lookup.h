#pragma once
// Finding well-known facts in the free-form parts of environment and subject records.
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "report/json_fields.h"

namespace iol::report {

/// The first of `names` found at any depth of `json`, as text; null and empty values don't count.
std::optional<std::string> find_text(const Json& json, std::initializer_list<const char*> names);

/// Every scalar of `json` as (dotted path, text), in the order of the keys; arrays are joined
/// by commas, null reads "not available", and a unit in a name (_bytes, _ms) forms its
/// value.
std::vector<std::pair<std::string, std::string>> flatten(const Json& json);

}  // namespace iol::report
