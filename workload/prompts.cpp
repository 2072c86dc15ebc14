#include "workload/prompts.h"

#include "base/error.h"

namespace iol {

PromptSource PromptSource::from_text(std::vector<std::int32_t> text_tokens) {
  if (text_tokens.empty()) {
    throw_input_error("the text that prompts are taken from has no token; give a text with words");
  }
  PromptSource source;
  source.text_tokens_ = std::move(text_tokens);
  return source;
}

PromptSource PromptSource::random_ids(std::int32_t vocab_size) {
  IOL_CHECK(vocab_size > 0);
  PromptSource source;
  source.vocab_size_ = vocab_size;
  return source;
}

std::vector<std::int32_t> PromptSource::take(std::int64_t num_tokens, RandomStream& random) const {
  std::vector<std::int32_t> tokens;
  tokens.reserve(static_cast<std::size_t>(num_tokens));
  if (text_tokens_.empty()) {
    for (std::int64_t i = 0; i < num_tokens; ++i) {
      const auto id = random.below(static_cast<std::uint64_t>(vocab_size_));
      tokens.push_back(static_cast<std::int32_t>(id));
    }
    return tokens;
  }
  std::size_t position = random.below(text_tokens_.size());
  // A window that fits stays clear of the seam between the text's end and its beginning.
  const auto length = static_cast<std::size_t>(num_tokens);
  if (length <= text_tokens_.size()) position %= text_tokens_.size() - length + 1;
  for (std::size_t i = 0; i < length; ++i) {
    tokens.push_back(text_tokens_[(position + i) % text_tokens_.size()]);
  }
  return tokens;
}

std::vector<WorkloadRequest> make_requests(const PromptSource& source,
                                           const LengthDistribution& input_tokens,
                                           const LengthDistribution& output_tokens,
                                           std::int64_t first_id, std::int64_t count,
                                           std::uint64_t seed, std::int64_t max_context) {
  std::vector<WorkloadRequest> requests;
  requests.reserve(static_cast<std::size_t>(count));
  for (std::int64_t id = first_id; id < first_id + count; ++id) {
    // A stream per request: one request's lengths don't move when another's change.
    RandomStream random(seed, static_cast<std::uint64_t>(id));
    WorkloadRequest request;
    request.id = id;
    const std::int64_t num_input_tokens = input_tokens.sample(random);
    request.output_tokens = output_tokens.sample(random);
    if (num_input_tokens + request.output_tokens > max_context) {
      throw_input_error(
          "a request of {} input and {} output tokens does not fit the model's context of {}; "
          "choose a shorter --input-tokens or --output-tokens",
          num_input_tokens, request.output_tokens, max_context);
    }
    request.prompt_tokens = source.take(num_input_tokens, random);
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace iol
