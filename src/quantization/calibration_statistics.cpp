#include "quantization/calibration_statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "base/error.h"
#include "base/random.h"
#include "model/transformer.h"
#include "model/weights.h"
#include "quantization/scaling_sites.h"

namespace iol {
namespace {

constexpr int kBlockSize = 16;
constexpr int kChunkTokens = 256;

/// One input's running statistics. Every token passes once, in order.
struct Gatherer {
  InputStatistics statistics;
  std::vector<double> sums;  // [K] of |x|; divided at the end
  std::int64_t num_tokens = 0;
  std::size_t next_row = 0;  // of the drawn ones
  bool is_finite = true;
};

class StatisticsObserver final : public LinearInputObserver {
 public:
  StatisticsObserver(const ModelWeights& weights, const std::vector<ScalingSite>& sites,
                     std::vector<std::int64_t> drawn)
      : gatherers_(sites.size()), drawn_(std::move(drawn)) {
    for (std::size_t i = 0; i < sites.size(); ++i) {
      const LayerWeights& layer = weights.layers[static_cast<std::size_t>(sites[i].layer)];
      sites_of_[&matrix_of(layer, sites[i].input)] = i;
      const auto columns = static_cast<std::size_t>(sites[i].num_columns);
      gatherers_[i].statistics.max_abs.resize(columns);
      gatherers_[i].sums.resize(columns);
      gatherers_[i].statistics.rows.reserve(drawn_.size() * columns);
    }
  }

  void observe(const WeightMatrix& matrix, std::span<const float> row) override {
    const auto found = sites_of_.find(&matrix);
    if (found == sites_of_.end()) return;  // the LM head
    Gatherer& gatherer = gatherers_[found->second];
    InputStatistics& statistics = gatherer.statistics;
    for (std::size_t k = 0; k < row.size(); ++k) {
      const float magnitude = std::abs(row[k]);
      gatherer.is_finite = gatherer.is_finite && std::isfinite(magnitude);
      statistics.max_abs[k] = std::max(statistics.max_abs[k], magnitude);
      gatherer.sums[k] += double{magnitude};
    }
    const bool is_drawn =
        gatherer.next_row < drawn_.size() && drawn_[gatherer.next_row] == gatherer.num_tokens;
    if (is_drawn) {
      statistics.rows.insert(statistics.rows.end(), row.begin(), row.end());
      ++gatherer.next_row;
    }
    ++gatherer.num_tokens;
  }

  void check_finite(const std::vector<ScalingSite>& sites) const {
    for (std::size_t i = 0; i < sites.size(); ++i) {
      if (gatherers_[i].is_finite) continue;
      throw_input_error(
          "calibration: what '{}' is multiplied with becomes NaN or infinite; check the weights "
          "that come before it",
          sites[i].consumers[0]);
    }
  }

  std::vector<InputStatistics> finish() {
    std::vector<InputStatistics> all;
    for (auto& gatherer : gatherers_) {
      auto& mean = gatherer.statistics.mean_abs;
      for (const double sum : gatherer.sums)
        mean.push_back(static_cast<float>(sum / static_cast<double>(gatherer.num_tokens)));
      all.push_back(std::move(gatherer.statistics));
    }
    return all;
  }

 private:
  static const WeightMatrix& matrix_of(const LayerWeights& layer, LinearInput input) {
    switch (input) {
      case LinearInput::kQkv:
        return *layer.qkv;
      case LinearInput::kOutput:
        return *layer.output;
      case LinearInput::kGateUp:
        return *layer.gate_up;
      case LinearInput::kDown:
        return *layer.down;
    }
    IOL_CHECK(!"an input");
  }

  std::vector<Gatherer> gatherers_;
  std::vector<std::int64_t> drawn_;
  std::unordered_map<const WeightMatrix*, std::size_t> sites_of_;
};

/// Feeds windows of text through the model.
class WindowRunner {
 public:
  WindowRunner(const ModelConfig& config, const ModelWeights& weights, Backend& backend,
               int window_tokens)
      : config_(config), weights_(weights), backend_(backend) {
    const int num_blocks = (window_tokens + kBlockSize - 1) / kBlockSize;
    cache_ = backend.make_kv_cache(kv_cache_shape(config, num_blocks, kBlockSize, DType::kF32));
    activations_ = backend.make_activations(transformer_shape(config), kChunkTokens, 1);
    block_table_.resize(static_cast<std::size_t>(num_blocks));
    std::iota(block_table_.begin(), block_table_.end(), 0);
    positions_.resize(static_cast<std::size_t>(window_tokens));
    std::iota(positions_.begin(), positions_.end(), 0);
  }

  void run(std::span<const std::int32_t> window) {
    for (std::size_t begin = 0; begin < window.size(); begin += kChunkTokens) {
      const std::size_t count = std::min<std::size_t>(kChunkTokens, window.size() - begin);
      const SequenceSlice slice{0, static_cast<int>(count), static_cast<int>(begin), block_table_};
      StepInput input;
      input.token_ids = window.subspan(begin, count);
      input.positions = std::span<const std::int32_t>(positions_).subspan(begin, count);
      input.sequences = {&slice, 1};
      forward(config_, weights_, backend_, *activations_, *cache_, input);
    }
  }

 private:
  const ModelConfig& config_;
  const ModelWeights& weights_;
  Backend& backend_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Activations> activations_;
  std::vector<BlockId> block_table_;
  std::vector<std::int32_t> positions_;
};

/// The backend forgets the observer whatever happens.
class Observing {
 public:
  Observing(Backend& backend, LinearInputObserver& observer) : backend_(backend) {
    backend_.observe_linear_inputs(&observer);
  }
  ~Observing() { backend_.observe_linear_inputs(nullptr); }
  Observing(const Observing&) = delete;
  Observing& operator=(const Observing&) = delete;

 private:
  Backend& backend_;
};

void check_tokens(const ModelConfig& config, std::span<const std::int32_t> tokens, int num_rows) {
  if (tokens.size() < static_cast<std::size_t>(num_rows)) {
    throw_input_error("the calibration text has {} tokens; at least {} are needed", tokens.size(),
                      num_rows);
  }
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= config.vocab_size) {
      throw_input_error("calibration: token {} is outside the model's vocabulary of {}", token,
                        config.vocab_size);
    }
  }
}

}  // namespace

std::vector<std::int64_t> draw_rows(std::int64_t bound, std::int64_t count, std::uint64_t seed) {
  IOL_CHECK(count <= bound);
  // Selection sampling (Knuth, "The Art of Computer Programming", volume 2, algorithm S).
  RandomStream random(seed);
  std::vector<std::int64_t> drawn;
  for (std::int64_t i = 0; static_cast<std::int64_t>(drawn.size()) < count; ++i) {
    const std::int64_t wanted = count - static_cast<std::int64_t>(drawn.size());
    if (random.below(static_cast<std::uint64_t>(bound - i)) < static_cast<std::uint64_t>(wanted))
      drawn.push_back(i);
  }
  return drawn;
}

std::vector<InputStatistics> gather_statistics(const ModelConfig& config, WeightSource& source,
                                               Backend& backend,
                                               std::span<const std::int32_t> tokens,
                                               const StatisticsOptions& options,
                                               const StatisticsProgress& progress) {
  check_tokens(config, tokens, options.num_rows);
  const auto sites = scaling_sites(config);
  const ModelWeights weights = load_weights(config, source, backend, Quantization{});
  const auto total = static_cast<std::int64_t>(tokens.size());
  StatisticsObserver observer(weights, sites, draw_rows(total, options.num_rows, options.seed));
  const int window_tokens = std::min(options.window_tokens, config.max_position_embeddings);
  WindowRunner runner(config, weights, backend, window_tokens);
  const Observing observing(backend, observer);
  for (std::int64_t begin = 0; begin < total; begin += window_tokens) {
    const auto count = std::min<std::int64_t>(window_tokens, total - begin);
    runner.run(tokens.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)));
    observer.check_finite(sites);
    if (progress) progress(begin + count, total);
  }
  return observer.finish();
}

}  // namespace iol
