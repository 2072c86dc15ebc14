// iol eval MODEL --text FILE [--reference M2]: perplexity, KL divergence, top-1 agreement.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "bench/progress.h"
#include "bench/quality/format_table.h"
#include "bench/quality/quality.h"
#include "calibrated_source.h"
#include "commands.h"
#include "engine_options.h"
#include "model/resolve.h"
#include "quantization/manifest.h"
#include "quantization/quantized_checkpoint.h"

namespace iol::cli {
namespace {

struct EvalOptions {
  EngineOptions engine;
  std::string model;
  std::string text;
  std::string reference;
  std::string reference_dtype = "auto";
  bench::QualityOptions quality;
  std::string formats;
  int num_rounds = 5;
  bool markdown = false;
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

void print_line(const char* name, double value, const std::optional<bench::ConfidenceInterval>& ci,
                double factor, int digits, std::string_view unit) {
  fmt::print("  {:<16}{:.{}f}{}", name, factor * value, digits, unit);
  if (ci) {
    fmt::print("   (95 %: {:.{}f} to {:.{}f})", factor * ci->low, digits, factor * ci->high,
               digits);
  }
  fmt::print("\n");
}

void print_quality(const EvalOptions& options, const bench::Quality& quality) {
  const auto ci = quality.intervals.value_or(bench::QualityIntervals());
  const auto perplexity = quality.intervals ? std::optional(ci.perplexity) : std::nullopt;
  print_line("perplexity", quality.perplexity, perplexity, 1, 4, "");
  if (quality.kl_divergence_nats) {
    print_line("  its ratio", *quality.perplexity_ratio, ci.perplexity_ratio, 1, 5,
               " to " + options.reference);
    print_line("KL divergence", *quality.kl_divergence_nats, ci.kl_divergence_nats, 1, 6,
               " nats against it");
    print_line("same top token", *quality.top1_agreement, ci.top1_agreement, 100, 2, " %");
  }
  fmt::print("  {:<16}{:.4f} nats per token\n", "loss", quality.loss);
  if (!quality.intervals) {
    fmt::print("  no intervals: {} windows, and at least {} are needed (--window)\n",
               quality.windows.size(), bench::kLeastWindows);
  }
}

void print_result(const EvalOptions& options, const LoadedModel& model,
                  const bench::Quality& quality, double seconds) {
  if (options.engine.common.json) {
    nlohmann::json result = {{"model", options.model},
                             {"text", options.text},
                             {"dtype", dtype_name(model.dtype)},
                             {"quant", weight_format_name(model.quant.format)},
                             {"kv_cache", kv_format_name(model.kv_dtype)},
                             {"backend", model.backend->name()},
                             {"tokens", quality.num_tokens},
                             {"scored_tokens", quality.num_scored},
                             {"reference", nullptr},
                             {"seconds", seconds}};
    if (!options.reference.empty()) result["reference"] = options.reference;
    result.update(bench::quality_json(quality));
    fmt::print("{}\n", result.dump());
    return;
  }
  fmt::print("{} on {} ({}, KV cache {}, {})\n", options.model, options.text,
             dtype_name(model.dtype), kv_format_name(model.kv_dtype), model.backend->name());
  print_quality(options, quality);
  fmt::print("  scored          {} of {} tokens in {} windows, {:.1f} s\n", quality.num_scored,
             quality.num_tokens, quality.windows.size(), seconds);
}

void refuse_with_formats(const EvalOptions& options) {
  if (!options.reference.empty() || options.engine.quant_is_given) {
    throw_input_error(
        "--formats sets the quantization and compares with the model itself; leave out "
        "--reference and --quant");
  }
  const auto resolved = resolve_model(options.model);
  if (!resolved.synthetic && is_engine_directory(resolved.folder)) {
    throw_input_error("--formats: '{}' is an engine directory; give the model it was built from",
                      options.model);
  }
  if (!resolved.synthetic && is_quantized_checkpoint(resolved.folder)) {
    throw_input_error("--formats: '{}' is quantized already; give the unquantized model",
                      options.model);
  }
  if (resolved.synthetic && !options.text.empty()) {
    throw_input_error("--text: '{}' has random weights and no tokenizer; leave the option out",
                      options.model);
  }
}

void print_formats(const EvalOptions& options) {
  refuse_with_formats(options);
  bench::FormatTableOptions table;
  table.engine = engine_config(options.engine, options.model);
  if (table.engine.num_threads == 0) table.engine.num_threads = default_num_threads();
  table.formats = bench::parse_formats(options.formats);
  table.num_rounds = options.num_rounds;
  table.quality = options.quality;
  table.quality.seed = options.engine.common.seed;
  table.text = options.text;
  if (!options.text.empty()) {
    table.text_tokens = [&](const LoadedModel& model) {
      const MappedFile file(options.text);
      if (!model.tokenizer)
        throw_input_error("'{}' has no tokenizer; nothing to evaluate", model.name);
      return model.tokenizer->encode(
          {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()},
          /*add_special_tokens=*/false);
    };
    const MappedFile readable(options.text);  // a missing text shows before the work
  }
  bench::ProgressBar progress(shows_progress(options.engine.common), 1);
  table.on_step = [&](const std::string& what) {
    if (interrupted()) throw ExitCode{130};
    progress.describe(what);
  };
  const auto result = bench::format_table_json(bench::measure_formats(table));
  progress.clear();
  if (options.engine.common.json) {
    fmt::print("{}\n", result.dump());
  } else {
    fmt::print("{}", bench::format_table_text(result, options.markdown));
  }
}

/// The held-out text that comes with the program.
std::string shipped_text() {
  const auto path = find_shipped("heldout.txt");
  if (!path)
    throw_input_error(
        "--text: heldout.txt was not found beside the program; name a text, or set "
        "IOL_MODELS_DIR to the folder that holds it");
  return path->string();
}

void evaluate(EvalOptions options) {
  if (!options.formats.empty()) return print_formats(options);
  if (options.markdown) throw_input_error("--markdown prints a table of --formats; give both");
  if (options.text.empty()) options.text = shipped_text();
  const MappedFile file(options.text);
  const auto bytes = file.bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  warn_of_calibration_text(options.model, options.text);
  LoadedModel model = load_with_tokenizer(options.engine, options.model);
  std::optional<LoadedModel> reference;
  if (!options.reference.empty()) {
    EngineOptions reference_options = options.engine;
    reference_options.dtype = options.reference_dtype;
    reference_options.quant = "none";
    reference_options.quant_head = "none";
    reference_options.kv_cache = "auto";
    reference_options.quant_is_given = false;
    reference_options.quant_keep.clear();
    reference_options.verify = false;
    reference.emplace(load_with_tokenizer(reference_options, options.reference));
    check_tokenizers_agree(model, *reference, text);
  }
  const auto tokens = model.tokenizer->encode(text, /*add_special_tokens=*/false);
  bench::QualityOptions quality_options = options.quality;
  quality_options.seed = options.engine.common.seed;
  const std::int64_t start_ns = now_ns();
  const auto quality =
      bench::measure_quality(model, reference ? &*reference : nullptr, tokens, quality_options,
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
  command
      ->add_option("MODEL", options->model,
                   "folder, Hub id in the local cache, demo, or with --formats synthetic:NAME")
      ->required();
  command->add_option("--text", options->text,
                      "UTF-8 text file (default: the held-out text that comes with iol; "
                      "with --formats none)");
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
  command->add_option("--formats", options->formats,
                      "a table of formats: all, or none,int8,int8-wo,fp8,int4:64,kv-int8,"
                      "int8+kv-int8,...; size and decode speed, with --text also quality");
  command
      ->add_option("--rounds", options->num_rounds,
                   "--formats: rounds over all formats; speeds are medians")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("--markdown", options->markdown, "--formats: a Markdown table");
  add_engine_options(*command, options->engine);
  command->footer(
      "Windows don't overlap, and the first token of each is not scored.\n"
      "Examples:\n"
      "  iol eval demo\n"
      "  iol eval ENGINE_DIR --reference demo --text my.txt\n"
      "  iol eval demo --text models/heldout.txt --formats all --markdown\n"
      "  iol eval synthetic:tinyllama-1.1b --formats none,int8,int4:128\n"
      "  iol eval demo --text models/heldout.txt --reference demo --reference-dtype f32 --json");
  command->callback([options] { evaluate(*options); });
}

}  // namespace iol::cli
