#pragma once
#include <optional>
#include <string>

#include "backend/weight_format.h"

namespace iol {

/// Who drafts, and how far ahead. Lookup goes first; the model where lookup finds nothing.
struct SpeculationConfig {
  bool ngram = false;                          // lookup in the request's own text
  std::string model;                           // a draft model, named like EngineConfig::model
  std::optional<WeightFormat> quant;           // of the draft model, its head included; nothing:
                                               // as its folder holds it, or int8
  std::optional<int> depth;                    // drafts per sequence and step; nothing: chosen
  std::optional<double> simulated_acceptance;  // of each draft, whatever the model says: for
                                               // measuring speed; what is generated means nothing

  [[nodiscard]] bool enabled() const { return ngram || !model.empty(); }
  bool operator==(const SpeculationConfig&) const = default;
};

/// Of `--draft`: `ngram`, MODEL or `ngram,MODEL`. Throws InputError.
SpeculationConfig parse_draft(const std::string& text);
/// The same text again; "none" when nobody drafts.
std::string draft_text(const SpeculationConfig& config);
/// Of `--draft-depth`: `auto` or 0 to 16. Throws InputError.
std::optional<int> parse_draft_depth(const std::string& text);
/// Of `--draft-quant`: `auto` or a format. Throws InputError.
std::optional<WeightFormat> parse_draft_format(const std::string& text);
std::string draft_format_text(const SpeculationConfig& config);
/// Of a draft model that isn't quantized where it lies. What that costs in acceptance is less than
/// what it saves in each pass, and in a processor's caches.
inline WeightFormat draft_format(const SpeculationConfig& config) {
  return config.quant.value_or(WeightFormat::kInt8);
}
/// Throws InputError for a depth or a rate out of range.
void validate(const SpeculationConfig& config);

}  // namespace iol
