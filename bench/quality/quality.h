#pragma once
// Quality of a model on a text: perplexity, and how far its next-token distributions are from a
// reference's.
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "bench/quality/quality_intervals.h"
#include "engine/loaded_model.h"

namespace iol::bench {

struct QualityOptions {
  int window_tokens =
      0;  // 0: the model's context. The stride equals the window (docs: measurement)
  std::int64_t max_tokens = 0;  // 0: the whole text
  std::uint64_t seed = 0;       // of the intervals' resamples
};

/// Sums over one window, so that intervals can be taken over windows.
struct WindowQuality {
  std::int64_t num_scored = 0;         // the first token of a window has no prediction
  double negative_log_likelihood = 0;  // nats
  double reference_negative_log_likelihood = 0;
  double kl_divergence = 0;  // nats, reference against model
  std::int64_t same_top = 0;

  WindowQuality& operator+=(const WindowQuality& part);
};

struct Quality {
  std::vector<WindowQuality> windows;
  std::int64_t num_tokens = 0;
  std::int64_t num_scored = 0;
  double loss = 0;        // mean negative log-likelihood, nats per token
  double perplexity = 0;  // e^loss
  // Against a reference only:
  std::optional<double> perplexity_ratio;    // perplexity over the reference's
  std::optional<double> kl_divergence_nats;  // mean over positions
  std::optional<double> top1_agreement;  // fraction of positions with the same most likely token
  std::optional<QualityIntervals> intervals;  // nothing for too few windows
};

using QualityProgress = std::function<void(std::int64_t done, std::int64_t total)>;

/// Scores `tokens` with `model`, and against `reference` when there is one (same vocabulary).
/// Throws InputError when there is nothing to score or the vocabularies differ.
Quality measure_quality(LoadedModel& model, LoadedModel* reference,
                        std::span<const std::int32_t> tokens, const QualityOptions& options,
                        const QualityProgress& progress = {});

}  // namespace iol::bench
