// Runs three requests at once through the engine's C++ API: one streams to the terminal, one is
// sampled, one is cancelled after a few tokens. Then prints the statistics.
//
//   generate [MODEL]        (default: demo)
#include <atomic>
#include <cstdio>
#include <exception>
#include <string>

#include "engine/engine.h"
#include "tokenizer/tokenizer.h"

namespace {

void run(const std::string& model) {
  iol::EngineConfig config;
  config.model = model;
  config.max_batch = 8;
  std::string sampled_text;
  std::atomic<int> num_cancelled_tokens = 0;
  const auto engine = iol::Engine::create(config);
  std::printf("%s on %s\n\n", model.c_str(), engine->backend_name().c_str());

  // Streamed: each event brings the text that became readable with its token.
  iol::Request streamed;
  streamed.prompt_tokens = engine->tokenizer()->encode("The captain looked at the sea and");
  streamed.sampling.max_tokens = 40;
  std::printf("The captain looked at the sea and");
  engine->submit(streamed, [](const iol::TokenEvent& event) {
    std::fwrite(event.text.data(), 1, event.text.size(), stdout);
    std::fflush(stdout);
  });

  // Sampled: the same seed gives the same text, whoever shares the batch.
  iol::Request sampled;
  sampled.prompt_tokens = engine->tokenizer()->encode("The captain looked at the sea and");
  sampled.sampling.max_tokens = 40;
  sampled.sampling.temperature = 0.8;
  sampled.sampling.top_p = 0.95;
  sampled.sampling.seed = 7;
  engine->submit(sampled, [&](const iol::TokenEvent& event) { sampled_text += event.text; });

  // Cancelled: from its own callback, after five tokens.
  iol::Request endless;
  endless.prompt_tokens = engine->tokenizer()->encode("Once upon a time");
  endless.sampling.max_tokens = 1000;
  endless.sampling.ignore_eos = true;
  engine->submit(endless, [&](const iol::TokenEvent& event) {
    if (event.token && ++num_cancelled_tokens == 5) engine->cancel(event.request);
  });

  engine->drain();
  const auto stats = engine->stats();
  std::printf("\n\nsampled:%s\n\n", sampled_text.c_str());
  std::printf("cancelled after %d tokens\n", num_cancelled_tokens.load());
  std::printf("%lld steps, %lld prompt tokens computed, %lld tokens generated\n",
              static_cast<long long>(stats.num_steps), static_cast<long long>(stats.prompt_tokens),
              static_cast<long long>(stats.generated_tokens));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc > 1 ? argv[1] : "demo");
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "generate: %s\n", error.what());
    return 1;
  }
}
