// iol audit TRACE: what a workload looks like and which levers fit it.
#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "audit_page.h"
#include "base/error.h"
#include "command.h"
#include "commands.h"
#include "model/memory_plan.h"
#include "model/resolve.h"
#include "report/html.h"
#include "report/write_file.h"
#include "workload/advice.h"
#include "workload/audit.h"
#include "workload/audit_output.h"

namespace iol::cli {
namespace {

struct AuditArguments {
  CommonOptions common;
  std::string trace;
  std::string model;
  std::string html;
  AuditOptions options;
  TraceOptions trace_options;
};

void check(const char* option, double value, double low, double high) {
  if (std::isfinite(value) && value >= low && value <= high) return;
  throw_input_error("{} {}: expected a number from {} to {}", option, value, low, high);
}

/// The model's bytes as `iol plan` counts them; nothing is loaded.
ModelBytes model_bytes(const std::string& name) {
  const ModelConfig config = load_model_config(resolve_model(name));
  const auto weights = [&](WeightFormat format) {
    return static_cast<double>(weight_bytes(config, config.dtype, {format}));
  };
  ModelBytes bytes;
  bytes.name = name;
  bytes.weights = weights(WeightFormat::kNone);
  bytes.weights_int8 = weights(WeightFormat::kInt8);
  bytes.weights_int4 = weights(WeightFormat::kInt4);
  bytes.kv_per_token = static_cast<double>(kv_bytes_per_token(config, config.dtype));
  bytes.kv_per_token_int8 = static_cast<double>(kv_bytes_per_token(config, DType::kI8));
  return bytes;
}

/// How the page is made again: what changes its numbers.
std::string command_text(const AuditArguments& arguments) {
  std::string text = fmt::format("iol audit {} --ttft-ms {:g} --tpot-ms {:g} --static-batch {}",
                                 arguments.trace, arguments.options.times.ttft_ms,
                                 arguments.options.times.tpot_ms, arguments.options.static_batch);
  if (!arguments.model.empty()) text += " --model " + arguments.model;
  return text + " --html " + arguments.html;
}

void run_audit(const AuditArguments& arguments) {
  constexpr double kHourMs = 3.6e6;
  check("--ttft-ms", arguments.options.times.ttft_ms, 0, kHourMs);
  check("--tpot-ms", arguments.options.times.tpot_ms, 0, kHourMs);
  check("--bytes-per-token", arguments.trace_options.bytes_per_token, 0.1, 1000);
  std::optional<ModelBytes> model;
  if (!arguments.model.empty()) model = model_bytes(arguments.model);
  const auto trace = open_trace(arguments.trace, arguments.trace_options);
  const Workload workload = audit_trace(*trace, arguments.trace, arguments.options);
  const auto advice = advise(workload, model);
  if (!arguments.html.empty()) {
    const auto page = audit_page(workload, advice, command_text(arguments));
    report::write_file_atomically(arguments.html, report::render_html(page));
    if (!arguments.common.quiet) fmt::print(stderr, "wrote {}\n", arguments.html);
  }
  if (arguments.common.json) {
    fmt::print("{}\n", audit_json(workload, advice)
                           .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    fmt::print("{}", audit_text(workload, advice));
  }
}

}  // namespace

void add_audit_command(CLI::App& program) {
  auto arguments = std::make_shared<AuditArguments>();
  CLI::App& command =
      *program.add_subcommand("audit", "what a workload looks like and which levers fit it");
  command.add_option("trace", arguments->trace, "a trace of requests, plain or gzip")->required();
  command.add_option("--model", arguments->model,
                     "a model, for advice on quantization from its sizes; it isn't loaded");
  command.add_option("--html", arguments->html, "also write the audit as a page");
  command
      .add_option("--ttft-ms", arguments->options.times.ttft_ms,
                  "time to the first token, for the requests in flight")
      ->capture_default_str();
  command
      .add_option("--tpot-ms", arguments->options.times.tpot_ms,
                  "time of each further token, for the requests in flight")
      ->capture_default_str();
  command
      .add_option("--static-batch", arguments->options.static_batch,
                  "size of the static batches whose waste is counted")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      .add_option("--bytes-per-token", arguments->trace_options.bytes_per_token,
                  "to estimate lengths of texts whose tokens the trace doesn't count")
      ->capture_default_str();
  add_common_options(command, arguments->common);
  command.footer(
      "Examples:\n"
      "  iol audit AzureLLMInferenceTrace_conv.csv --ttft-ms 150 --tpot-ms 20\n"
      "  iol audit conversation_trace.jsonl.gz --model synthetic:llama-3.1-8b --json");
  command.callback([arguments] { run_audit(*arguments); });
}

}  // namespace iol::cli
