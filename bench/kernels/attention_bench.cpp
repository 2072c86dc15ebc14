// Attention on the GPU. Of a step of decodes, as it comes in a step: behind a QKV product with cold
// weights, in a captured graph, whose time without attention is subtracted. Microseconds, and the
// share of what reading keys and values takes at the bandwidth that doctor measures. In brackets
// the kernels that do its parts one after the other; both are compared first.
//
// Of prompts, 8,192 tokens of them together (at least one prompt): rotation with append, then
// attention, and the share of what its multiplications take at the peak that doctor measures; half
// of a prompt's square.
//
//   build/attention_bench [FORMAT...] [MODEL...] [BATCH...] [@CONTEXT[/LONGEST]...] [+PROMPT...]
//   (default bf16 fp8 int8, 1b 8b, 1 8 64 256, @200 @1500, +128 +2000; LONGEST: that of one
//   sequence; +0: no prompts)
#include <fmt/format.h>

#include <cstdlib>
#include <string>

#include "backend/cuda/cuda_device.h"
#include "backend/cuda/decode_shares.h"
#include "bench/kernels/attention_case.h"
#include "bench/kernels/device_time.h"
#include "bench/kernels/linear_case.h"

namespace iol::cuda {
namespace {

struct Model {
  const char* name;
  int hidden, num_heads, num_kv_heads, head_dim;
};
constexpr Model kModels[] = {{"1b", 2048, 32, 4, 64}, {"8b", 4096, 32, 8, 128}};
constexpr int kLayers = 8;

struct Format {
  const char* name;
  CacheElement element;
};
constexpr Format kFormats[] = {{"bf16", CacheElement::kBf16},
                               {"f16", CacheElement::kF16},
                               {"int8", CacheElement::kInt8},
                               {"fp8", CacheElement::kFp8}};

/// Positions that sequences see, and one of them.
struct Context {
  int usual;
  int longest;
};

/// Median time of the work of all layers, captured, for each of them.
template <class Work>
double microseconds(const Stream& stream, Work&& work) {
  constexpr int kRuns = 9;
  constexpr int kReplays = 10;
  work();
  stream.synchronize("warming up");
  const Graph graph = Graph::capture(stream, work);
  const double all = median_microseconds(stream, kRuns, [&] {
    for (int i = 0; i < kReplays; ++i) graph.launch(stream);
  });
  return all / kReplays / kLayers;
}

void measure(const Model& model, const Format& format, int batch, const Context& context,
             double read_peak, const Stream& stream) {
  AttentionShape shape = {
      format.element, model.num_heads, model.num_kv_heads, model.head_dim, 16, 0, false, {}};
  for (int i = 0; i < batch; ++i) {
    // Lengths differ by up to an eighth.
    shape.sequences.push_back({1, context.usual - 1 - i * 29 % (context.usual / 8)});
  }
  shape.sequences.front().first_position = context.longest - 1;
  const AttentionCase attention(shape, kLayers);
  const LinearCase linear(
      {"qkv", MatrixLayout::kBf16, attention.qkv_columns(), model.hidden, batch, Epilogue::kStore},
      kLayers);
  const int shares = most_shares(batch, model.num_kv_heads, attention.max_chunks());
  const bool is_split = shares == attention.max_chunks();
  attention.clear();
  rope_append(attention.heads(), stream.get());
  cuda::attention(attention.attention(false), stream.get());
  stream.synchronize("the parts");
  const auto want = attention.results();
  attention.clear();
  attention_decode(attention.decodes(shares), attention.heads(), stream.get());
  stream.synchronize("the whole");
  check_launch("attention");
  const bool is_same = attention.results() == want;

  const auto product = [&](int layer) {
    LinearTask task =
        linear.task(row_form(linear.task(RowForm::kPlain).matrix, batch, false), layer);
    task.out = attention.qkv();
    cuda::linear(task, stream.get());
  };
  const auto each_layer = [&](auto&& work) {
    return microseconds(stream, [&] {
      for (int layer = 0; layer < kLayers; ++layer) work(layer);
    });
  };
  const double products = each_layer(product);
  const double whole = each_layer([&](int layer) {
    product(layer);
    attention_decode(attention.decodes(shares, layer), attention.heads(layer), stream.get());
  });
  const double parts = each_layer([&](int layer) {
    product(layer);
    rope_append(attention.heads(layer), stream.get());
    cuda::attention(attention.attention(is_split, layer), stream.get());
  });
  const double limit = 1e6 * attention.cache_bytes() / read_peak;
  fmt::print("{} {:<5}batch {:<4}context {:<10}{:7.2f} us, limit {:6.2f} ({:3.0f} %) [{:.2f}]{}\n",
             model.name, format.name, batch,
             context.longest == context.usual
                 ? std::to_string(context.usual)
                 : fmt::format("{}/{}", context.usual, context.longest),
             whole - products, limit, 100 * limit / (whole - products), parts - products,
             is_same ? "" : "  NOT THE SAME BITS");
  std::fflush(stdout);
}

void measure_prompts(const Model& model, const Format& format, int length, double peak,
                     const Stream& stream) {
  AttentionShape shape = {
      format.element, model.num_heads, model.num_kv_heads, model.head_dim, 16, 0, false, {}};
  constexpr int kStepTokens = 8192;
  shape.sequences.assign(static_cast<std::size_t>(std::max(kStepTokens / length, 1)), {length, 0});
  const AttentionCase attention(shape, kLayers);
  const auto each_layer = [&](auto&& work) {
    return microseconds(stream, [&] {
      for (int layer = 0; layer < kLayers; ++layer) work(layer);
    });
  };
  const double rope =
      each_layer([&](int layer) { rope_append(attention.prompt_heads(layer), stream.get()); });
  const double us =
      each_layer([&](int layer) { cuda::attention(attention.prompts(layer), stream.get()); });
  const double operations = 2.0 * attention.num_tokens() * (length + 1) * model.num_heads *
                            model.head_dim;  // 2 products, 2 each, of half the square
  fmt::print(
      "{} {:<5}{} prompts of {:<5} rotation {:7.1f} us, attention {:8.1f} us, {:5.1f} TFLOP/s "
      "({:.0f} %)\n",
      model.name, format.name, shape.sequences.size(), length, rope, us, operations / us / 1e6,
      1e8 * operations / us / peak);
  std::fflush(stdout);
}

template <class T>
bool is_chosen(const std::vector<T>& chosen, const T& value) {
  return chosen.empty() || std::find(chosen.begin(), chosen.end(), value) != chosen.end();
}

int bench(const std::vector<std::string>& formats, const std::vector<std::string>& models,
          const std::vector<int>& batches, const std::vector<Context>& contexts,
          const std::vector<int>& prompts) {
  if (cuda_status().devices.empty()) {
    fmt::print(stderr, "{}\n", cuda_status().reason);
    return 1;
  }
  const CudaLimits limits = measure_cuda_limits(cuda_status().devices[0].index);
  fmt::print("{}: read {:.2f} TB/s\n", cuda_status().devices[0].name,
             limits.read_bytes_per_s / 1e12);
  const Stream stream;
  for (const Model& model : kModels) {
    if (!is_chosen<std::string>(models, model.name)) continue;
    for (const Format& format : kFormats) {
      if (!is_chosen<std::string>(formats, format.name)) continue;
      for (const int batch : batches)
        for (const Context& context : contexts)
          measure(model, format, batch, context, limits.read_bytes_per_s, stream);
      for (const int length : prompts)
        if (length > 0) measure_prompts(model, format, length, limits.bf16_flops, stream);
    }
  }
  return 0;
}

}  // namespace
}  // namespace iol::cuda

int main(int argc, char** argv) {
  std::vector<std::string> formats;
  std::vector<std::string> models;
  std::vector<int> batches;
  std::vector<iol::cuda::Context> contexts;
  std::vector<int> prompts;
  for (const std::string& argument : std::vector<std::string>(argv + 1, argv + argc)) {
    if (argument == "1b" || argument == "8b") {
      models.push_back(argument);
    } else if (argument.front() == '@') {
      const int usual = std::stoi(argument.substr(1));
      const std::size_t slash = argument.find('/');
      contexts.push_back(
          {usual, slash == std::string::npos ? usual : std::stoi(argument.substr(slash + 1))});
    } else if (argument.front() == '+') {
      prompts.push_back(std::stoi(argument.substr(1)));
    } else if (argument.find_first_not_of("0123456789") == std::string::npos) {
      batches.push_back(std::stoi(argument));
    } else {
      formats.push_back(argument);
    }
  }
  if (formats.empty()) formats = {"bf16", "fp8", "int8"};
  if (batches.empty()) batches = {1, 8, 64, 256};
  if (contexts.empty()) contexts = {{200, 200}, {1500, 1500}};
  if (prompts.empty()) prompts = {128, 2000};
  return iol::cuda::bench(formats, models, batches, contexts, prompts);
}
