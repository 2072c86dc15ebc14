#include "request/sampling_params.h"

#include <simdjson.h>

#include <cmath>

#include "base/error.h"

namespace iol {
namespace {

template <class Value>
[[noreturn]] void refuse(const char* field, const Value& value, const char* range) {
  throw_input_error("{} is {}; it must be {}", field, value, range);
}

/// Written so that NaN, which compares false, is refused.
void expect_between(const char* field, double value, double low, double high, const char* range) {
  if (!(value >= low && value <= high)) refuse(field, value, range);
}

void validate_distribution(const SamplingParams& sampling) {
  if (!std::isfinite(sampling.temperature) || sampling.temperature < 0) {
    refuse("temperature", sampling.temperature, "0 (greedy) or more, and finite");
  }
  if (sampling.top_k < 0) refuse("top_k", sampling.top_k, "0 (all tokens) or more");
  if (!(sampling.top_p > 0 && sampling.top_p <= 1)) {
    refuse("top_p", sampling.top_p, "more than 0 and at most 1");
  }
  expect_between("min_p", sampling.min_p, 0, 1, "between 0 and 1");
  if (!std::isfinite(sampling.repetition_penalty) || sampling.repetition_penalty <= 0) {
    refuse("repetition_penalty", sampling.repetition_penalty, "more than 0 (1: none), and finite");
  }
  expect_between("presence_penalty", sampling.presence_penalty, -2, 2, "between -2 and 2");
  expect_between("frequency_penalty", sampling.frequency_penalty, -2, 2, "between -2 and 2");
}

void validate_token(const char* field, std::int32_t token, int vocab_size) {
  if (token < 0 || token >= vocab_size) {
    throw_input_error("{} names token {}; ids of this model are between 0 and {}", field, token,
                      vocab_size - 1);
  }
}

void validate_end(const SamplingParams& sampling, int vocab_size) {
  if (sampling.max_tokens < 1) refuse("max_tokens", sampling.max_tokens, "at least 1");
  if (sampling.min_tokens < 0 || sampling.min_tokens > sampling.max_tokens) {
    throw_input_error("min_tokens is {}; it must be between 0 and max_tokens ({})",
                      sampling.min_tokens, sampling.max_tokens);
  }
  for (std::size_t i = 0; i < sampling.stop.size(); ++i) {
    const std::string& stop = sampling.stop[i];
    if (stop.empty()) {
      throw_input_error("stop[{}] is empty; a stop string must hold at least one character", i);
    }
    if (!simdjson::validate_utf8(stop)) {
      throw_input_error("stop[{}] is not valid UTF-8; it must be text", i);
    }
  }
  for (const std::int32_t token : sampling.stop_token_ids) {
    validate_token("stop_token_ids", token, vocab_size);
  }
}

}  // namespace

void SamplingParams::validate(int vocab_size) const {
  validate_distribution(*this);
  for (const auto& [token, bias] : logit_bias) {
    validate_token("logit_bias", token, vocab_size);
    if (!(bias >= -100.0F && bias <= 100.0F)) {
      throw_input_error("logit_bias of token {} is {}; it must be between -100 and 100", token,
                        bias);
    }
  }
  if (num_logprobs && (*num_logprobs < 0 || *num_logprobs > 20)) {
    refuse("num_logprobs", *num_logprobs, "between 0 and 20");
  }
  validate_end(*this, vocab_size);
}

}  // namespace iol
