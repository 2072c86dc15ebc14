#include "engine/scorer.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "model/transformer.h"

namespace iol {
namespace {

constexpr int kBlockSize = 16;
// Rows of logits held at once: 256 rows of a 128k vocabulary are 131 MB.
constexpr int kChunkTokens = 256;

}  // namespace

Scorer::Scorer(LoadedModel& model, int window_tokens)
    : model_(model), window_tokens_(window_tokens) {
  const auto& config = model.config;
  const int num_blocks = (window_tokens + kBlockSize - 1) / kBlockSize;
  cache_ =
      model.backend->make_kv_cache(kv_cache_shape(config, num_blocks, kBlockSize, model.kv_dtype));
  activations_ =
      model.backend->make_activations(transformer_shape(config), kChunkTokens, kChunkTokens);
  block_table_.resize(static_cast<std::size_t>(num_blocks));
  std::iota(block_table_.begin(), block_table_.end(), 0);
}

Scorer::~Scorer() = default;

void Scorer::score(std::span<const std::int32_t> tokens,
                   const std::function<void(const Rows&)>& visit) {
  IOL_CHECK(static_cast<int>(tokens.size()) <= window_tokens_);
  std::vector<std::int32_t> positions(tokens.size());
  std::iota(positions.begin(), positions.end(), 0);
  for (std::size_t begin = 0; begin < tokens.size(); begin += kChunkTokens) {
    const std::size_t count = std::min<std::size_t>(kChunkTokens, tokens.size() - begin);
    const SequenceSlice slice{0, static_cast<int>(count), static_cast<int>(begin), block_table_};
    StepInput input;
    input.token_ids = tokens.subspan(begin, count);
    input.positions = std::span<const std::int32_t>(positions).subspan(begin, count);
    input.sequences = {&slice, 1};
    input.logit_tokens = std::span<const std::int32_t>(positions).first(count);
    forward(model_.config, model_.weights, *model_.backend, *activations_, *cache_, input);
    visit({static_cast<int>(begin), static_cast<int>(count),
           [&](int row) { return model_.backend->logits(*activations_, row); }});
  }
}

}  // namespace iol
