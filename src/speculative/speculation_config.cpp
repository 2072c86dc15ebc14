#include "speculative/speculation_config.h"

#include <charconv>

#include "base/error.h"
#include "speculative/depth_policy.h"

namespace iol {
namespace {

constexpr const char* kNgram = "ngram";
constexpr const char* kAuto = "auto";

[[noreturn]] void refuse_depth(const std::string& text) {
  throw_input_error("--draft-depth {}: expected auto, or tokens per step from 0 to {}", text,
                    kMaxDraftDepth);
}

}  // namespace

SpeculationConfig parse_draft(const std::string& text) {
  SpeculationConfig config;
  const std::string prefix = std::string(kNgram) + ",";
  if (text == kNgram || text.starts_with(prefix)) {
    config.ngram = true;
    if (text == kNgram) return config;
    config.model = text.substr(prefix.size());
  } else {
    config.model = text;
  }
  if (config.model.empty() || config.model == kNgram) {
    throw_input_error("--draft '{}': expected ngram, a draft model, or both as ngram,MODEL", text);
  }
  return config;
}

std::string draft_text(const SpeculationConfig& config) {
  if (!config.enabled()) return "none";
  if (config.model.empty()) return kNgram;
  return config.ngram ? fmt::format("{},{}", kNgram, config.model) : config.model;
}

std::optional<int> parse_draft_depth(const std::string& text) {
  if (text == kAuto) return std::nullopt;
  int depth = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), depth);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  if (!is_number || depth < 0 || depth > kMaxDraftDepth) refuse_depth(text);
  return depth;
}

std::optional<WeightFormat> parse_draft_format(const std::string& text) {
  if (text == kAuto) return std::nullopt;
  const auto format = parse_weight_format(text);
  if (!format) {
    throw_input_error("--draft-quant {}: expected auto, none, int8, int8-wo, fp8 or int4", text);
  }
  return format;
}

std::string draft_format_text(const SpeculationConfig& config) {
  return config.quant ? std::string(weight_format_name(*config.quant)) : kAuto;
}

void validate(const SpeculationConfig& config) {
  if (config.depth && (*config.depth < 0 || *config.depth > kMaxDraftDepth))
    refuse_depth(std::to_string(*config.depth));
  if (config.quant && config.model.empty()) {
    throw_input_error("--draft-quant {}: of which draft model? Name one with --draft",
                      weight_format_name(*config.quant));
  }
  if (!config.simulated_acceptance) return;
  const double rate = *config.simulated_acceptance;
  if (!(rate >= 0 && rate <= 1)) {
    throw_input_error("--simulated-acceptance {}: expected a rate from 0 to 1", rate);
  }
  if (!config.enabled()) {
    throw_input_error("--simulated-acceptance: of whose drafts? Give --draft");
  }
}

}  // namespace iol
