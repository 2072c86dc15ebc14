// iol eval MODEL --text FILE [--reference M2]: perplexity, KL divergence, top-1 agreement.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "bench/quality/quality.h"
#include "commands.h"
#include "engine_options.h"

namespace iol::cli {
namespace {

struct EvalOptions {
  EngineOptions engine;
  std::string model;
  std::string text;
  std::string reference;
  std::string reference_dtype = "auto";
  bench::QualityOptions quality;
};

void check_tokenizers_agree(const LoadedModel& model, const LoadedModel& reference,
                            std::string_view text) {
  const auto sample = text.substr(0, std::min<std::size_t>(text.size(), 4096));
  const auto whole = sample.substr(0, sample.find_last_of(" \n") + 1);  // never half a character
  if (model.tokenizer->encode(whole, false) != reference.tokenizer->encode(whole, false)) {
    throw_input_error("'{}' and '{}' tokenize the text differently; they can't be compared",
                      model.name, reference.name);
  }
}

LoadedModel load_with_tokenizer(const EngineOptions& options, const std::string& name) {
  LoadedModel model = load_model(engine_config(options, name));
  if (!model.tokenizer) throw_input_error("'{}' has no tokenizer; nothing to evaluate", name);
  return model;
}

void print_result(const EvalOptions& options, const LoadedModel& model,
                  const bench::Quality& quality, double seconds) {
  if (options.engine.common.json) {
    nlohmann::json result = {{"model", options.model},
                             {"text", options.text},
                             {"dtype", dtype_name(model.dtype)},
                             {"quant", options.engine.quant},
                             {"kv_cache", kv_format_name(model.kv_dtype)},
                             {"backend", model.backend->name()},
                             {"tokens", quality.num_tokens},
                             {"scored_tokens", quality.num_scored},
                             {"windows", quality.windows.size()},
                             {"loss_nats", quality.loss},
                             {"perplexity", quality.perplexity},
                             {"seconds", seconds}};
    if (quality.kl_divergence_nats) {
      result["reference"] = options.reference;
      result["kl_divergence_nats"] = *quality.kl_divergence_nats;
      result["top1_agreement"] = *quality.top1_agreement;
    }
    fmt::print("{}\n", result.dump());
    return;
  }
  fmt::print("{} on {} ({}, KV cache {}, {})\n", options.model, options.text,
             dtype_name(model.dtype), kv_format_name(model.kv_dtype), model.backend->name());
  fmt::print("  perplexity      {:.4f}   (loss {:.4f} nats per token)\n", quality.perplexity,
             quality.loss);
  if (quality.kl_divergence_nats) {
    fmt::print("  KL divergence   {:.6f} nats against {}\n", *quality.kl_divergence_nats,
               options.reference);
    fmt::print("  same top token  {:.2f} %\n", 100 * *quality.top1_agreement);
  }
  fmt::print("  scored          {} of {} tokens in {} windows, {:.1f} s\n", quality.num_scored,
             quality.num_tokens, quality.windows.size(), seconds);
}

void evaluate(const EvalOptions& options) {
  const MappedFile file(options.text);
  const auto bytes = file.bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  LoadedModel model = load_with_tokenizer(options.engine, options.model);
  std::optional<LoadedModel> reference;
  if (!options.reference.empty()) {
    EngineOptions reference_options = options.engine;
    reference_options.dtype = options.reference_dtype;
    reference_options.quant = "none";
    reference_options.quant_head = "none";
    reference_options.kv_cache = "auto";
    reference.emplace(load_with_tokenizer(reference_options, options.reference));
    check_tokenizers_agree(model, *reference, text);
  }
  const auto tokens = model.tokenizer->encode(text, /*add_special_tokens=*/false);
  const std::int64_t start_ns = now_ns();
  const auto quality =
      bench::measure_quality(model, reference ? &*reference : nullptr, tokens, options.quality,
                             [&](auto done, auto total) {
                               if (interrupted()) throw ExitCode{130};
                               if (shows_progress(options.engine.common))
                                 fmt::print(stderr, "\r{:3d} %", 100 * done / total);
                             });
  if (shows_progress(options.engine.common)) fmt::print(stderr, "\r     \r");
  print_result(options, model, quality, static_cast<double>(now_ns() - start_ns) / 1e9);
}

}  // namespace

void add_eval_command(CLI::App& program) {
  auto options = std::make_shared<EvalOptions>();
  auto* command = program.add_subcommand(
      "eval", "Perplexity of a model on a text, and its distance from a reference");
  command->add_option("MODEL", options->model, "folder, Hub id in the local cache, or demo")
      ->required();
  command->add_option("--text", options->text, "UTF-8 text file")->required();
  command->add_option("--reference", options->reference,
                      "unquantized model to compare with: KL divergence, top-1 agreement");
  command->add_option("--reference-dtype", options->reference_dtype, "auto, f32, f16 or bf16")
      ->capture_default_str();
  command->add_option("--window", options->quality.window_tokens,
                      "tokens per window; 0: the model's context");
  command
      ->add_option("--max-tokens", options->quality.max_tokens,
                   "score only the first tokens; 0: all")
      ->check(CLI::NonNegativeNumber);
  add_engine_options(*command, options->engine);
  command->footer(
      "Windows don't overlap, and the first token of each is not scored.\n"
      "Examples:\n"
      "  iol eval demo --text models/heldout.txt\n"
      "  iol eval demo --text models/heldout.txt --reference demo --reference-dtype f32 --json");
  command->callback([options] { evaluate(*options); });
}

}  // namespace iol::cli
