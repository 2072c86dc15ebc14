#include "report/export.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "base/error.h"
#include "report/write_file.h"

namespace iol::report {
namespace {

/// As it may stand in the name of a file.
std::string file_name_part(std::string text) {
  std::replace_if(
      text.begin(), text.end(),
      [](unsigned char c) { return std::isalnum(c) == 0 && c != '.' && c != '-'; }, '-');
  return text;
}

std::string load_name(const Summary& summary) {
  if (summary.concurrency == 0) return summary.scenario;
  return summary.scenario + "-" + std::to_string(summary.concurrency);
}

std::vector<const RequestRecord*> requests_of(const Records& records, const Summary& summary) {
  std::vector<const RequestRecord*> requests;
  for (const RequestRecord& request : records.requests) {
    const RunKey& run = request.run;
    if (!request.warmup && run.subject == summary.subject && run.scenario == summary.scenario &&
        run.concurrency == summary.concurrency) {
      requests.push_back(&request);
    }
  }
  return requests;
}

/// vLLM's names for a distribution: mean_ttft_ms, median_ttft_ms, std_ttft_ms, p99_ttft_ms.
void add_vllm_metric(Json& result, const Summary& summary, const char* metric,
                     const std::string& name) {
  const MetricSummary* found = summary.find(metric);
  if (found == nullptr) return;
  const Distribution& d = found->distribution;
  result["mean_" + name] = d.mean;
  result["median_" + name] = d.p50;
  result["std_" + name] = d.std;
  result["p99_" + name] = d.p99;
}

Json metric_json(const std::optional<double>& milliseconds) {
  return {{"value", *milliseconds}, {"unit", "ms"}};
}

std::vector<std::filesystem::path> write_vllm(const RunReport& report,
                                              const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const Summary& summary : report.summaries) {
    files.push_back(folder / ("vllm-" + file_name_part(summary.subject) + "-" +
                              file_name_part(load_name(summary)) + ".json"));
    write_file_atomically(files.back(), vllm_result(report, summary).dump(2) + "\n");
  }
  return files;
}

}  // namespace

Json vllm_result(const RunReport& report, const Summary& summary) {
  const SubjectRecord& subject = *report.records.find_subject(summary.subject);
  const auto requests = requests_of(report.records, summary);
  Json input_lens = Json::array();
  Json output_lens = Json::array();
  Json ttfts = Json::array();
  Json itls = Json::array();
  Json errors = Json::array();
  double input = 0;
  double output = 0;
  std::int64_t completed = 0;
  for (const RequestRecord* request : requests) {
    completed += request->succeeded() ? 1 : 0;
    input += static_cast<double>(request->input_tokens);
    output += static_cast<double>(request->output_tokens);
    input_lens.push_back(request->input_tokens);
    output_lens.push_back(request->output_tokens);
    ttfts.push_back(request->ttft_ms.value_or(0) * 1e-3);  // vLLM writes seconds, 0 for a failure
    Json gaps = Json::array();
    for (const double gap_ms : request->itl_ms) gaps.push_back(gap_ms * 1e-3);
    itls.push_back(std::move(gaps));
    errors.push_back(request->error ? request->error->message : "");
  }
  const auto& rate = summary.output_throughput_tok_s;
  const double seconds = rate && *rate > 0 ? output / *rate : 0;
  const auto number = [](const std::optional<double>& value) {
    return value ? Json(*value) : Json(nullptr);
  };
  Json result = {
      {"date", report.records.environment.fields.value("started_at", "")},
      {"endpoint_type", subject.kind},
      {"label", summary.subject + ", " + load_name(summary)},
      {"model_id", subject.model_name},
      {"num_prompts", requests.size()},
      {"request_rate", summary.rate_req_s ? Json(*summary.rate_req_s) : Json("inf")},
      {"max_concurrency", summary.concurrency > 0 ? Json(summary.concurrency) : Json(nullptr)},
      {"duration", seconds},
      {"completed", completed},
      {"total_input_tokens", input},
      {"total_output_tokens", output},
      {"request_throughput", number(summary.request_throughput_req_s)},
      {"request_goodput", number(summary.goodput_req_s)},
      {"output_throughput", number(rate)},
      {"total_token_throughput", seconds > 0 ? Json((input + output) / seconds) : Json(nullptr)},
      {"input_lens", std::move(input_lens)},
      {"output_lens", std::move(output_lens)},
      {"ttfts", std::move(ttfts)},
      {"itls", std::move(itls)},
      {"errors", std::move(errors)}};
  add_vllm_metric(result, summary, "time_to_first_token", "ttft_ms");
  add_vllm_metric(result, summary, "inter_token_latency", "tpot_ms");
  add_vllm_metric(result, summary, "itl", "itl_ms");
  add_vllm_metric(result, summary, "request_latency", "e2el_ms");
  return result;
}

std::vector<Json> aiperf_requests(const Records& records) {
  std::vector<Json> lines;
  for (const RequestRecord& request : records.requests) {
    if (request.warmup) continue;
    Json metrics = Json::object();
    const auto add = [&](const char* name, const std::optional<double>& milliseconds) {
      if (milliseconds) metrics[name] = metric_json(milliseconds);
    };
    if (request.succeeded()) {
      add("time_to_first_token", request.ttft_ms);
      add("inter_token_latency", request.tpot_ms());
      add("request_latency", request.e2e_ms);
      metrics["input_sequence_length"] = {{"value", request.input_tokens}, {"unit", "tokens"}};
      metrics["output_sequence_length"] = {{"value", request.output_tokens}, {"unit", "tokens"}};
      metrics["inter_chunk_latency"] = {{"value", request.itl_ms}, {"unit", "ms"}};
    }
    Json error = nullptr;
    if (request.error) {
      error = {{"type", request.error->type}, {"message", request.error->message}};
    }
    lines.push_back({{"metadata",
                      {{"session_num", lines.size()},
                       {"x_request_id", request.request_id},
                       {"conversation_id", request.request_id},
                       {"turn_index", 0},
                       {"request_start_ns", request.start_ns},
                       {"request_end_ns", request.end_ns},
                       {"worker_id", request.run.subject},
                       {"record_processor_id", "iol"},
                       {"benchmark_phase", "profiling"}}},
                     {"metrics", std::move(metrics)},
                     {"error", std::move(error)}});
  }
  return lines;
}

std::vector<std::filesystem::path> write_export(std::string_view form,
                                                const std::filesystem::path& results_folder,
                                                const std::filesystem::path& folder) {
  Records records = read_records(results_folder);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw_resource_error("-o {}: can't be created: {}", folder.string(), error.message());
  }
  if (form == "perfetto") {
    const auto file = folder / "perfetto.json";
    write_file_atomically(file, perfetto_trace(records).dump() + "\n");
    return {file};
  }
  if (form == "aiperf") {
    const auto file = folder / "profile_export.jsonl";
    std::string text;
    for (const Json& line : aiperf_requests(records)) text += line.dump() + "\n";
    write_file_atomically(file, text);
    return {file};
  }
  if (form == "vllm") return write_vllm(summarize(std::move(records)), folder);
  throw_input_error("--export {}: expected vllm, aiperf or perfetto", form);
}

}  // namespace iol::report
