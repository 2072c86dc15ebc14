#pragma once
// What each format costs and gains on one model: size, speed of one stream, quality.
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/quality/quality.h"
#include "engine/engine.h"

namespace iol::bench {

/// A row of the table: a weight format, a format of the KV cache, or one of each.
struct FormatChoice {
  std::string name;  // as the user writes it
  Quantization quantization;
  std::optional<DType> kv_dtype;
};

/// `all`, or names separated by commas: none, int8, int8-wo, fp8, int4 (or int4:GROUP), kv-FORMAT,
/// and a weight format and a KV format joined by `+`: int8+kv-int8. `none` is always the first row:
/// the others are compared with it. Throws InputError naming what is unknown.
std::vector<FormatChoice> parse_formats(const std::string& text);

struct FormatRow {
  FormatChoice format;
  std::int64_t weights_bytes = 0;        // in memory, as packed
  double bits_per_weight = 0;            // of all parameters, whatever is left unquantized included
  double bytes_per_token = 0;            // that a decode step must read: weights, keys and values
  std::vector<double> decode_tok_s;      // one for each round
  std::vector<double> read_bytes_per_s;  // the canary before each of them
  std::optional<Quality> quality;        // nothing without a text
};

struct FormatTable {
  std::string model;
  bool synthetic = false;
  std::string text;  // the name of the file that was scored
  std::string isa;   // the backend's name
  int num_threads = 1;
  int num_rounds = 1;
  int prompt_tokens = 0;
  int output_tokens = 0;
  std::vector<FormatRow> rows;
};

struct FormatTableOptions {
  EngineConfig engine;  // quant and kv_dtype are replaced row by row
  std::vector<FormatChoice> formats;
  std::string text;  // the name of the file that text_tokens reads
  int num_rounds = 5;
  int prompt_tokens = 32;
  int output_tokens = 64;
  /// The text to score, in the model's tokens; empty: no quality.
  std::function<std::vector<std::int32_t>(const LoadedModel&)> text_tokens;
  QualityOptions quality;
  std::function<void(const std::string& what)> on_step;  // may throw to stop
};

/// Speed first, in rounds over the formats so that each meets the machine in the same states; then
/// quality. An engine is freed before the next one is made; while quality is measured the
/// unquantized model is in memory beside the one that is compared with it.
FormatTable measure_formats(const FormatTableOptions& options);

/// With the machine, the rounds and the canary: a table is worth nothing without them.
nlohmann::json format_table_json(const FormatTable& table);
/// The same for people: columns padded, or as a Markdown table.
std::string format_table_text(const nlohmann::json& table, bool markdown);

}  // namespace iol::bench
