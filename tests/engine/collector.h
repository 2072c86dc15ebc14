#pragma once
// Gathers what an engine publishes, request by request.
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/engine.h"

namespace iol::test {

struct Outcome {
  std::vector<std::int32_t> tokens;
  std::vector<TokenLogprobs> logprobs;
  std::string text;
  std::optional<FinishReason> finish_reason;
  std::string error;
  int num_ends = 0;
};

/// Thread-safe; must outlive the engine it listens to.
class Collector {
 public:
  /// `key` is the caller's own name for the request.
  TokenCallback listen(int key) {
    return [this, key](const TokenEvent& event) {
      const std::lock_guard lock(mutex_);
      Outcome& outcome = outcomes_[key];
      if (event.token) outcome.tokens.push_back(*event.token);
      if (event.logprobs) outcome.logprobs.push_back(*event.logprobs);
      outcome.text += event.text;
      if (event.finish_reason) {
        outcome.finish_reason = event.finish_reason;
        outcome.error = event.error;
        ++outcome.num_ends;
      }
    };
  }
  Outcome outcome(int key) {
    const std::lock_guard lock(mutex_);
    return outcomes_[key];
  }

 private:
  std::mutex mutex_;
  std::unordered_map<int, Outcome> outcomes_;
};

inline bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof(float)) == 0; }

/// Equal tokens, and log-probabilities equal to the last bit, over the first `count` tokens.
inline bool identical(const Outcome& a, const Outcome& b, std::size_t count) {
  if (a.tokens.size() < count || b.tokens.size() < count) return false;
  for (std::size_t i = 0; i < count; ++i) {
    if (a.tokens[i] != b.tokens[i]) return false;
    if (a.logprobs.empty() != b.logprobs.empty()) return false;
    if (a.logprobs.empty()) continue;
    const auto& x = a.logprobs[i];
    const auto& y = b.logprobs[i];
    if (!same_bits(x.sampled.logprob, y.sampled.logprob) || x.top.size() != y.top.size())
      return false;
    for (std::size_t j = 0; j < x.top.size(); ++j) {
      if (x.top[j].token != y.top[j].token || !same_bits(x.top[j].logprob, y.top[j].logprob))
        return false;
    }
  }
  return true;
}

}  // namespace iol::test
