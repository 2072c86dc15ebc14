// Each fused operation of the CPU backend on the TinyLlama shape in each weight format, with its
// fraction of the machine's limit: the larger of the time to read its bytes and the time to do its
// arithmetic.
//
//   build/kernel_bench [ISA] --benchmark_filter=feed_forward/int4
//
// ISA is an instruction set, the best one where it is left out.
// Every call works on the next layer, so that weights come from memory as in a real step.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "backend/cpu/cpu_kv_cache.h"
#include "backend/cpu/kernels_of.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/random.h"
#include "bench/limits/machine_limits.h"
#include "engine/loaded_model.h"

namespace iol::bench {
namespace {

constexpr int kBlockSize = 16;
constexpr int kMostTokens = 512;
constexpr int kMostSequences = 64;
constexpr int kMostContext = 2048;
constexpr int kCacheBlocks = 8 * kMostContext / kBlockSize + 64;

constexpr int blocks_of(int positions) { return (positions + kBlockSize - 1) / kBlockSize; }

Isa& chosen_isa() {
  static Isa isa = best_isa();
  return isa;
}

/// Bytes read and operations done by one call.
struct Work {
  double bytes = 0;
  double flops = 0;
};

/// What a step of `num_sequences` sequences hands to the operations.
struct Step {
  std::vector<std::int32_t> tokens, positions, logit_tokens;
  std::vector<std::vector<BlockId>> block_tables;
  std::vector<SequenceSlice> sequences;

  Step(int num_sequences, int tokens_each, int context, int first_block = 0) {
    const int num_blocks = blocks_of(context + tokens_each);
    block_tables.resize(static_cast<std::size_t>(num_sequences));
    for (int sequence = 0; sequence < num_sequences; ++sequence) {
      auto& table = block_tables[static_cast<std::size_t>(sequence)];
      for (int block = 0; block < num_blocks; ++block)
        table.push_back(first_block + sequence * num_blocks + block);
      sequences.push_back({sequence * tokens_each, tokens_each, context, table});
      for (int i = 0; i < tokens_each; ++i) {
        tokens.push_back(1 + i);
        positions.push_back(context + i);
      }
      logit_tokens.push_back((sequence + 1) * tokens_each - 1);
    }
  }
  [[nodiscard]] StepInput input() const { return {tokens, positions, sequences, logit_tokens, {}}; }
};

/// A cache with keys and values at every position: memory that was never written is one page of
/// zeros in disguise.
std::unique_ptr<KvCache> make_filled_cache(const KvCacheShape& shape) {
  auto cache = std::make_unique<cpu::CpuKvCache>(shape);
  const auto append = cpu::kernels_of(chosen_isa()).append;
  std::vector<float> numbers(static_cast<std::size_t>(2 * shape.head_dim + kBlockSize));
  RandomStream random(1);
  for (float& number : numbers) number = static_cast<float>(2 * random.uniform() - 1);
  for (int layer = 0; layer < shape.num_layers; ++layer) {
    cpu::AppendTask task;
    task.cache = cache->layer(layer);
    for (task.block = 0; task.block < shape.num_blocks; ++task.block) {
      for (task.offset = 0; task.offset < kBlockSize; ++task.offset) {
        task.key = numbers.data() + task.offset;
        task.value = task.key + shape.head_dim;
        for (task.kv_head = 0; task.kv_head < shape.num_kv_heads; ++task.kv_head) append(task);
      }
    }
  }
  return cache;
}

/// A model in one format with its memory.
struct Bench {
  LoadedModel model;
  std::unique_ptr<KvCache> cache;
  std::unique_ptr<Activations> activations;

  explicit Bench(WeightFormat format) {
    EngineConfig config;
    config.model = "synthetic:tinyllama-1.1b";
    config.dtype = DType::kBF16;
    config.isa = chosen_isa();
    config.quant.format = format;
    config.quant.head = format;
    model = load_model(config);
    fill_cache(DType::kBF16);
    activations = model.backend->make_activations(transformer_shape(model.config), kMostTokens,
                                                  kMostSequences);
  }

  void fill_cache(DType dtype) {
    if (cache && cache->shape().dtype == dtype) return;
    const auto& shape = model.config;
    cache = make_filled_cache(
        {shape.num_layers, kCacheBlocks, kBlockSize, shape.num_kv_heads, shape.head_dim, dtype});
  }
};

/// One at a time; benchmarks are registered format by format.
Bench& bench(WeightFormat format) {
  static std::unique_ptr<Bench> instance;
  static WeightFormat current = WeightFormat::kNone;
  if (!instance || current != format) {
    instance.reset();
    instance = std::make_unique<Bench>(format);
    current = format;
  }
  return *instance;
}

const MachineLimits& limits() {
  static const MachineLimits measured = measure_machine_limits(chosen_isa(), default_num_threads());
  return measured;
}

/// Operations per second of the unit that a format's products run on.
double peak_of(WeightFormat format) {
  const double bf16 = limits().bf16_flops.value_or(limits().f32_flops);
  const bool is_integer = format == WeightFormat::kInt8 || format == WeightFormat::kInt4;
  return is_integer ? limits().int8_ops.value_or(bf16) : bf16;
}

/// Seconds that `work` takes at the limit.
double seconds_at_limit(const Work& work, WeightFormat format) {
  return std::max(work.bytes / limits().read_bytes_per_s, work.flops / peak_of(format));
}

Work matrix_work(const WeightMatrix& matrix, int rows) {
  return {static_cast<double>(matrix.size_bytes()),
          2.0 * rows * static_cast<double>(matrix.num_rows() * matrix.num_columns())};
}

Work attention_work(const ModelConfig& config, int num_sequences, int tokens_each, int context,
                    DType kv_dtype) {
  // Causal: the i-th new token sees context + i + 1 keys, on average context + tokens_each / 2.
  const double keys = context + (tokens_each + 1) / 2.0;
  const double kv_bytes = 2.0 * (context + tokens_each) * config.num_kv_heads *
                          static_cast<double>(kv_row_bytes(config.head_dim, kv_dtype));
  return {num_sequences * kv_bytes,
          4.0 * num_sequences * tokens_each * keys * config.num_heads * config.head_dim};
}

/// Times `call(layer)` over all layers in turn and reports what part of the limit it reaches.
template <class Call>
void measure(benchmark::State& state, WeightFormat format, const Work& work, Call&& call) {
  const int num_layers = bench(format).model.config.num_layers;
  int layer = 0;
  const std::int64_t start_ns = now_ns();
  for ([[maybe_unused]] auto iteration : state) {
    call(layer);
    layer = (layer + 1) % num_layers;
  }
  const double seconds = static_cast<double>(now_ns() - start_ns) / 1e9;
  const double calls_per_s = static_cast<double>(state.iterations()) / seconds;
  state.counters["GB/s"] = calls_per_s * work.bytes / 1e9;
  state.counters["GOP/s"] = calls_per_s * work.flops / 1e9;
  state.counters["%limit"] = calls_per_s * 100 * seconds_at_limit(work, format);
}

const LayerWeights& weights_of(const Bench& b, int layer) {
  return b.model.weights.layers[static_cast<std::size_t>(layer)];
}

/// `rows` tokens of at most kMostSequences sequences.
Step step_of(int rows) {
  return {std::min(rows, kMostSequences), std::max(rows / kMostSequences, 1), 64};
}

void project_qkv(benchmark::State& state, WeightFormat format) {
  const int rows = static_cast<int>(state.range(0));
  const Step step = step_of(rows);
  Bench& b = bench(format);
  measure(state, format, matrix_work(*weights_of(b, 0).qkv, rows), [&](int layer) {
    b.model.backend->project_qkv(*b.activations, step.input(), weights_of(b, layer), *b.cache,
                                 layer);
  });
}

void project_output(benchmark::State& state, WeightFormat format) {
  const int rows = static_cast<int>(state.range(0));
  const Step step = step_of(rows);
  Bench& b = bench(format);
  measure(state, format, matrix_work(*weights_of(b, 0).output, rows), [&](int layer) {
    b.model.backend->project_output(*b.activations, step.input(), weights_of(b, layer));
  });
}

void feed_forward(benchmark::State& state, WeightFormat format) {
  const int rows = static_cast<int>(state.range(0));
  const Step step = step_of(rows);
  Bench& b = bench(format);
  Work work = matrix_work(*weights_of(b, 0).gate_up, rows);
  const Work down = matrix_work(*weights_of(b, 0).down, rows);
  work.bytes += down.bytes;
  work.flops += down.flops;
  measure(state, format, work, [&](int layer) {
    b.model.backend->feed_forward(*b.activations, step.input(), weights_of(b, layer));
  });
}

void project_logits(benchmark::State& state, WeightFormat format) {
  const int rows = static_cast<int>(state.range(0));
  const Step step(rows, 1, 64);
  Bench& b = bench(format);
  const auto& weights = b.model.weights;
  measure(state, format, matrix_work(weights.output_head(), rows), [&](int /*layer*/) {
    b.model.backend->project_logits(*b.activations, step.input(), *weights.final_norm,
                                    weights.output_head());
  });
}

/// Arguments: sequences, new tokens of each, keys already cached. Calls go round the layers and
/// then round other blocks, so that keys and values come from memory as in a real step.
void attend(benchmark::State& state, DType kv_dtype) {
  const int num_sequences = static_cast<int>(state.range(0));
  const int tokens_each = static_cast<int>(state.range(1));
  const int context = static_cast<int>(state.range(2));
  Bench& b = bench(WeightFormat::kNone);
  b.fill_cache(kv_dtype);
  std::vector<Step> steps;
  const int num_blocks = num_sequences * blocks_of(context + tokens_each);
  for (int first = 0; first + num_blocks <= kCacheBlocks; first += num_blocks)
    steps.emplace_back(num_sequences, tokens_each, context, first);
  const auto work = attention_work(b.model.config, num_sequences, tokens_each, context, kv_dtype);
  std::size_t num_calls = 0;
  measure(state, WeightFormat::kNone, work, [&](int layer) {
    const auto turn = num_calls++ / static_cast<std::size_t>(b.model.config.num_layers);
    b.model.backend->attend(*b.activations, steps[turn % steps.size()].input(), *b.cache, layer,
                            {});
  });
}

using FormatBenchmark = void (*)(benchmark::State&, WeightFormat);

void add_benchmarks() {
  const auto settings = [](benchmark::internal::Benchmark* added) {
    added->Unit(benchmark::kMicrosecond)->UseRealTime()->MinTime(0.3);
  };
  for (const DType dtype : {DType::kBF16, DType::kI8, DType::kF8E4M3}) {
    settings(
        benchmark::RegisterBenchmark(fmt::format("attend/{}", kv_format_name(dtype)).c_str(),
                                     [dtype](benchmark::State& state) { attend(state, dtype); })
            ->ArgNames({"sequences", "tokens", "context"})
            ->Args({1, 1, 256})
            ->Args({1, 1, 1500})
            ->Args({1, 1, 2046})
            ->Args({8, 1, 2046})
            ->Args({64, 1, 255})
            ->Args({1, 512, 0})
            ->Args({1, 512, 1536}));
  }
  const std::pair<const char*, FormatBenchmark> operations[] = {{"project_qkv", project_qkv},
                                                                {"project_output", project_output},
                                                                {"feed_forward", feed_forward},
                                                                {"project_logits", project_logits}};
  for (const auto& traits : kWeightFormats) {
    for (const auto& [name, operation] : operations) {
      const auto format = traits.format;
      auto* added = benchmark::RegisterBenchmark(
          fmt::format("{}/{}", name, traits.name).c_str(),
          [operation, format](benchmark::State& state) { operation(state, format); });
      settings(added->RangeMultiplier(2)->Range(1, kMostSequences)->ArgName("rows"));
      if (operation != project_logits) added->Arg(kMostTokens);
    }
  }
}

}  // namespace
}  // namespace iol::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  bool names_isa = false;
  for (const iol::Isa isa : iol::supported_isas()) {
    if (argc < 2 || argv[1] != iol::isa_name(isa)) continue;
    iol::bench::chosen_isa() = isa;
    names_isa = true;
  }
  const int first = names_isa ? 1 : 0;
  if (benchmark::ReportUnrecognizedArguments(argc - first, argv + first)) return 2;
  const auto& limits = iol::bench::limits();
  fmt::print(
      "{}, {} threads; reads {:.1f} GB/s, int8 {:.0f} GOP/s, bf16 {:.0f} GFLOP/s, f32 {:.0f} "
      "GFLOP/s\n",
      iol::isa_name(iol::bench::chosen_isa()), iol::default_num_threads(),
      limits.read_bytes_per_s / 1e9, limits.int8_ops.value_or(0) / 1e9,
      limits.bf16_flops.value_or(0) / 1e9, limits.f32_flops / 1e9);
  iol::bench::add_benchmarks();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
