#include "bench/quality/record_quality.h"

#include <optional>

#include "backend/kv_format.h"
#include "bench/quality/quality.h"
#include "bench/subject.h"

namespace iol::bench {
namespace {

using nlohmann::json;

// Eight windows of the demo's context: seconds on it, a minute on a model of a billion.
constexpr std::int64_t kQualityTokens = 16384;

/// What to compare a quantized model with: itself unquantized, or what an engine directory was
/// built from. Nothing with a reason when that is gone.
struct QualityReference {
  std::optional<EngineConfig> engine;
  std::string missing;
};

QualityReference quality_reference(const BenchModel& model, const EngineConfig& engine) {
  QualityReference reference;
  const bool has_quantized_kv = engine.kv_dtype && is_quantized_kv(*engine.kv_dtype);
  if (engine.quant == Quantization{} && !has_quantized_kv) return reference;
  EngineConfig unquantized = engine;
  unquantized.quant = {};
  if (has_quantized_kv) unquantized.kv_dtype = std::nullopt;
  unquantized.verify = false;
  if (model.built_from) {
    if (!model.built_from->missing.empty()) {
      reference.missing = model.built_from->missing;
      return reference;
    }
    unquantized.model = model.built_from->folder.string();
  }
  reference.engine = std::move(unquantized);
  return reference;
}

json measure(const QualityInputs& inputs, const EngineConfig& engine) {
  LoadedModel model = load_model(engine);
  const auto wanted = quality_reference(inputs.model, engine);
  std::optional<LoadedModel> reference;
  if (wanted.engine) reference.emplace(load_model(*wanted.engine));
  const auto quality = measure_quality(
      model, reference ? &*reference : nullptr, inputs.prompts.text_tokens(),
      {.max_tokens = kQualityTokens, .seed = inputs.seed}, [&](std::int64_t, std::int64_t) {
        if (inputs.interrupted && inputs.interrupted()) throw Interrupted();
      });
  json record = quality_json(quality);
  record.update({{"text", "heldout.txt"},
                 {"tokens", quality.num_scored},
                 {"reference_model", reference ? json(reference->name) : json(nullptr)}});
  if (!wanted.missing.empty()) record["reference_note"] = wanted.missing;
  return record;
}

struct MeasuredFormat {
  Quantization quantization;
  std::optional<DType> kv_dtype;
  json record;
};

}  // namespace

void record_quality(const QualityInputs& inputs, RecordWriter& records) {
  std::vector<MeasuredFormat> measured;
  for (const auto& subject : inputs.subjects) {
    const auto& engine = subject.engine;
    const MeasuredFormat* found = nullptr;
    for (const auto& format : measured) {
      if (format.quantization == engine.quant && format.kv_dtype == engine.kv_dtype)
        found = &format;
    }
    if (found == nullptr) {
      measured.push_back({engine.quant, engine.kv_dtype, measure(inputs, engine)});
      found = &measured.back();
    }
    json record = found->record;
    record["subject"] = subject.name;
    records.write("quality", std::move(record));
  }
}

}  // namespace iol::bench
