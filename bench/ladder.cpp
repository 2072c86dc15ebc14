#include "bench/ladder.h"

#include <algorithm>

#include "backend/kv_format.h"
#include "base/error.h"
#include "bench/iol_subject.h"
#include "model/memory_plan.h"
#include "model/resolve.h"

namespace iol::bench {
namespace {

std::int64_t draft_kv_bytes_per_token(const SpeculationConfig& speculation, DType kv_dtype) {
  if (speculation.model.empty()) return 0;
  return kv_bytes_per_token(load_model_config(resolve_model(speculation.model)), kv_dtype);
}

/// Who drafts on the last rung, unless the user says: lookup, and for the demo its draft model too.
SpeculationConfig ladder_speculation(const SpeculationConfig& asked, const BenchModel& model) {
  return asked.enabled() ? asked : parse_draft(model.name == "demo" ? "ngram,demo-draft" : "ngram");
}

/// Builds the rungs one from the other: each starts as a copy of the one before.
class RungBuilder {
 public:
  RungBuilder(EngineConfig engine, const BenchModel& model)
      : engine_(std::move(engine)), model_(model) {}

  void add_pytorch() {
    rungs_.push_back({"pytorch-eager", "PyTorch eager", "transformers' generate in static batches",
                      "baseline", std::nullopt});
    rungs_.push_back({"pytorch-compiled", "PyTorch compiled", "torch.compile and a static cache",
                      "compilation", std::nullopt});
  }
  void add_engine() {
    add("iol-static", "iol, static batches", "this engine; still static, contiguous, unquantized",
        "engine");
  }
  void add_in_flight_batching() {
    engine_.scheduler = SchedulerPolicy::kInFlight;
    add("iol-in-flight", "+ in-flight batching", "requests join and leave at every step",
        "in_flight_batching");
  }
  void add_paged_kv(bool reuses_prefixes) {
    engine_.kv_allocation = KvAllocation::kPaged;
    engine_.prefix_cache = reuses_prefixes;
    add("iol-paged", "+ paged KV cache",
        reuses_prefixes ? "blocks as they are needed; shared prefixes computed once"
                        : "blocks as they are needed; no prefix is shared in this traffic",
        "paged_kv_cache");
  }
  void add_quantized_weights(const Quantization& quant) {
    engine_.quant = quant;
    const std::string name(weight_format_name(quant.format));
    add("iol-" + name, fmt::format("+ {} weights", name), "the format of the weights alone",
        "quantized_weights");
  }
  void add_quantized_kv(DType kv_dtype) {
    const auto plain = kv_bytes_per_token(model_.config, engine_.kv_dtype.value_or(model_.dtype));
    const auto quantized = kv_bytes_per_token(model_.config, kv_dtype);
    const std::int64_t num_blocks =
        engine_.kv_cache_tokens * plain / quantized / engine_.block_size;
    engine_.kv_cache_tokens = num_blocks * engine_.block_size;
    engine_.kv_dtype = kv_dtype;
    const std::string name(kv_format_name(kv_dtype));
    add(fmt::format("{}-kv-{}", rungs_.back().subject, name), fmt::format("+ {} KV cache", name),
        "the format of keys and values alone; more tokens in the same bytes", "quantized_kv_cache");
  }
  /// The draft's keys and values take their part of the same bytes.
  void add_speculation(const SpeculationConfig& speculation) {
    const DType kv_dtype = engine_.kv_dtype.value_or(model_.dtype);
    const auto alone = kv_bytes_per_token(model_.config, kv_dtype);
    const auto both = alone + draft_kv_bytes_per_token(speculation, kv_dtype);
    engine_.kv_cache_tokens =
        engine_.kv_cache_tokens * alone / both / engine_.block_size * engine_.block_size;
    engine_.speculation = speculation;
    add("iol-speculation", "+ speculation",
        fmt::format("drafts by {}, verified by the model; the same tokens",
                    draft_text(speculation)),
        "speculation");
  }
  std::vector<Rung> take() { return std::move(rungs_); }

 private:
  void add(std::string subject, std::string label, std::string change, std::string lever) {
    rungs_.push_back(
        {std::move(subject), std::move(label), std::move(change), std::move(lever), engine_});
  }

  EngineConfig engine_;
  const BenchModel& model_;
  std::vector<Rung> rungs_;
};

}  // namespace

ScenarioOptions ladder_scenario() {
  ScenarioOptions scenario;
  scenario.concurrencies = {16};
  scenario.input_tokens = LengthDistribution::parse("uniform:16:128", "--input-tokens");
  scenario.output_tokens = LengthDistribution::parse("lognormal:3:0.7", "--output-tokens");
  scenario.num_rounds = 2;
  scenario.lengths_are_known = false;
  return scenario;
}

int ladder_kv_sequences(const LadderOptions& options, const ScenarioOptions& scenario) {
  if (options.kv_sequences > 0) return options.kv_sequences;
  const auto& all = scenario.concurrencies;
  const int most = all.empty() ? 1 : *std::max_element(all.begin(), all.end());
  return std::max(1, most / 4);
}

LadderPlan plan_ladder(const LadderOptions& options, const EngineConfig& engine,
                       const BenchModel& model, const Plan& plan, bool with_pytorch,
                       bool reuses_prefixes) {
  if (model.built_from) {
    throw_input_error(
        "--ladder: '{}' is {}; the ladder starts from unquantized weights, give the model that it "
        "was made from",
        model.name, model.built_from->what);
  }
  LadderPlan ladder;
  ladder.kv_sequences = ladder_kv_sequences(options, {.concurrencies = {plan.max_concurrency}});
  EngineConfig first = engine;
  first.scheduler = SchedulerPolicy::kStatic;
  first.kv_allocation = KvAllocation::kContiguous;
  first.prefix_cache = false;
  first.quant = {};
  first.kv_dtype = std::nullopt;
  first.speculation = {};
  first.max_batch = std::max(engine.max_batch, plan.max_concurrency);
  first.max_context = static_cast<int>(plan.max_request_tokens);
  const std::int64_t blocks_per_sequence = plan.max_request_tokens / first.block_size + 1;
  first.kv_cache_tokens = ladder.kv_sequences * blocks_per_sequence * first.block_size;
  ladder.kv_cache_bytes = first.kv_cache_tokens * kv_bytes_per_token(model.config, model.dtype);

  RungBuilder builder(first, model);
  if (with_pytorch) builder.add_pytorch();
  builder.add_engine();
  builder.add_in_flight_batching();
  builder.add_paged_kv(reuses_prefixes);
  builder.add_quantized_weights(options.quant);
  builder.add_quantized_kv(options.kv_dtype);
  builder.add_speculation(ladder_speculation(engine.speculation, model));
  ladder.rungs = builder.take();
  return ladder;
}

std::vector<std::unique_ptr<Subject>> make_rung_subjects(const LadderPlan& ladder) {
  std::vector<std::unique_ptr<Subject>> subjects;
  for (const Rung& rung : ladder.rungs) {
    if (rung.engine) subjects.push_back(make_iol_subject(*rung.engine, rung.subject));
  }
  return subjects;
}

nlohmann::json ladder_record(const LadderPlan& ladder) {
  nlohmann::json rungs = nlohmann::json::array();
  for (const Rung& rung : ladder.rungs) {
    rungs.push_back({{"subject", rung.subject},
                     {"label", rung.label},
                     {"change", rung.change},
                     {"lever", rung.lever}});
  }
  return {{"kv_cache_bytes", ladder.kv_cache_bytes},
          {"kv_sequences", ladder.kv_sequences},
          {"rungs", std::move(rungs)}};
}

}  // namespace iol::bench
