#include "bench/quality/quality.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/kernels_of.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "engine/scorer.h"

namespace iol::bench {
namespace {

/// log(sum(exp(x))), accurate to about 1e-6.
double log_sum_exp(std::span<const float> x) {
  static const cpu::KernelTable& kernels = cpu::kernels_of(best_isa());
  const auto count = static_cast<std::int64_t>(x.size());
  const float most = kernels.argmax(x.data(), 0, count).value;
  return most + std::log(kernels.sum_exp(x.data(), count, most));
}

/// One position's contribution; `reference` is empty without a reference model.
WindowQuality score_row(std::span<const float> logits, std::span<const float> reference,
                        std::optional<std::int32_t> next_token) {
  WindowQuality row;
  const double log_sum = log_sum_exp(logits);
  if (next_token) {
    row.num_scored = 1;
    row.negative_log_likelihood = log_sum - logits[static_cast<std::size_t>(*next_token)];
  }
  if (!reference.empty() && next_token) {
    const double reference_log_sum = log_sum_exp(reference);
    row.reference_negative_log_likelihood =
        reference_log_sum - reference[static_cast<std::size_t>(*next_token)];
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const double log_p = reference[i] - reference_log_sum;
      row.kl_divergence += std::exp(log_p) * (log_p - (logits[i] - log_sum));
    }
    const auto top = [](std::span<const float> x) {
      return std::max_element(x.begin(), x.end()) - x.begin();
    };
    row.same_top = top(logits) == top(reference) ? 1 : 0;
  }
  return row;
}

/// The reference's logits of a window, kept while the model goes over the same window.
class ReferenceWindow {
 public:
  ReferenceWindow(LoadedModel* model, int window_tokens) : vocab_size_(0) {
    if (model == nullptr) return;
    scorer_.emplace(*model, window_tokens);
    vocab_size_ = static_cast<std::size_t>(model->config.vocab_size);
  }
  void score(std::span<const std::int32_t> window) {
    if (!scorer_) return;
    logits_.resize(window.size() * vocab_size_);
    scorer_->score(window, [&](const Scorer::Rows& rows) {
      for (int i = 0; i < rows.count; ++i) {
        const auto row = rows.logits(i);
        std::copy(row.begin(), row.end(), at(rows.first_position + i));
      }
    });
  }
  [[nodiscard]] std::span<const float> row(int position) {
    return scorer_ ? std::span<const float>(at(position), vocab_size_) : std::span<const float>();
  }

 private:
  float* at(int position) {
    return logits_.data() + static_cast<std::size_t>(position) * vocab_size_;
  }

  std::optional<Scorer> scorer_;
  std::size_t vocab_size_;
  std::vector<float> logits_;
};

WindowQuality score_window(Scorer& scorer, ReferenceWindow& reference, ThreadPool& threads,
                           std::span<const std::int32_t> window) {
  reference.score(window);
  std::vector<WindowQuality> rows(window.size());
  scorer.score(window, [&](const Scorer::Rows& part) {
    threads.for_ranges(part.count, 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) {
        const auto position = static_cast<std::size_t>(part.first_position + i);
        std::optional<std::int32_t> next;
        if (position + 1 < window.size()) next = window[position + 1];
        rows[position] = score_row(part.logits(static_cast<int>(i)),
                                   reference.row(static_cast<int>(position)), next);
      }
    });
  });
  WindowQuality sum;  // in the order of positions, so that threads don't change the result
  for (const auto& row : rows) sum += row;
  return sum;
}

}  // namespace

WindowQuality& WindowQuality::operator+=(const WindowQuality& part) {
  num_scored += part.num_scored;
  negative_log_likelihood += part.negative_log_likelihood;
  reference_negative_log_likelihood += part.reference_negative_log_likelihood;
  kl_divergence += part.kl_divergence;
  same_top += part.same_top;
  return *this;
}

Quality measure_quality(LoadedModel& model, LoadedModel* reference,
                        std::span<const std::int32_t> tokens, const QualityOptions& options,
                        const QualityProgress& progress) {
  if (options.max_tokens > 0)
    tokens = tokens.first(std::min<std::size_t>(tokens.size(), options.max_tokens));
  const int context = model.config.max_position_embeddings;
  const int window = options.window_tokens > 0 ? options.window_tokens : context;
  if (window > context || window < 2) {
    throw_input_error("a window of {} tokens; expected 2 to the model's context of {}", window,
                      context);
  }
  if (tokens.size() < 2)
    throw_input_error("the text has {} tokens; at least 2 are needed", tokens.size());
  if (reference != nullptr && reference->config.vocab_size != model.config.vocab_size) {
    throw_input_error(
        "'{}' has a vocabulary of {}, the reference '{}' of {}; they can't be compared", model.name,
        model.config.vocab_size, reference->name, reference->config.vocab_size);
  }
  Scorer scorer(model, window);
  ReferenceWindow reference_window(reference, window);
  ThreadPool threads(default_num_threads());

  Quality quality;
  quality.num_tokens = static_cast<std::int64_t>(tokens.size());
  WindowQuality total;
  for (std::size_t begin = 0; begin < tokens.size(); begin += static_cast<std::size_t>(window)) {
    const auto part = tokens.subspan(begin, std::min<std::size_t>(window, tokens.size() - begin));
    quality.windows.push_back(score_window(scorer, reference_window, threads, part));
    total += quality.windows.back();
    if (progress) progress(static_cast<std::int64_t>(begin + part.size()), quality.num_tokens);
  }
  const auto count = static_cast<double>(total.num_scored);
  quality.num_scored = total.num_scored;
  quality.loss = total.negative_log_likelihood / count;
  quality.perplexity = std::exp(quality.loss);
  quality.intervals = quality_intervals(quality.windows, reference != nullptr, options.seed);
  if (reference != nullptr) {
    quality.perplexity_ratio =
        std::exp((total.negative_log_likelihood - total.reference_negative_log_likelihood) / count);
    quality.kl_divergence_nats = total.kl_divergence / count;
    quality.top1_agreement = static_cast<double>(total.same_top) / count;
  }
  return quality;
}

}  // namespace iol::bench
