#include "quantization/name_pattern.h"

#include "base/error.h"
#include "model/json_fields.h"

namespace iol {
namespace {

constexpr std::string_view kPrefix = "re:";

}  // namespace

NamePattern::NamePattern(std::string text) : text_(std::move(text)) {
  if (text_.starts_with(kPrefix))
    regex_ = std::make_unique<Regex>(std::string_view(text_).substr(kPrefix.size()));
}

bool NamePattern::matches(const std::string& module) const {
  if (!regex_) return module == text_;
  std::vector<Span> found;
  try {
    regex_->find_matches(module, found);
  } catch (const InputError&) {
    throw_input_error("config.json: the pattern '{}' takes too long on '{}'; simplify it",
                      shown_name(text_), module);
  }
  // The leftmost match comes first, so one that begins with the name is it.
  return !found.empty() && found.front().begin == 0;
}

}  // namespace iol
