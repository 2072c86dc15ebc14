#pragma once
#include <optional>
#include <string>
#include <utility>

#include "engine/engine.h"
#include "request/sequence.h"
#include "sampler/sampler.h"
#include "sampler/stop_strings.h"
#include "speculative/draft_state.h"
#include "tokenizer/stream_decoder.h"

namespace iol {

/// Everything the engine keeps for one request between its submission and its last event.
struct RequestState {
  RequestState(Sequence new_sequence, TokenCallback callback, const Tokenizer* tokenizer)
      : sequence(std::move(new_sequence)),
        stop_strings(sequence.sampling.stop),
        on_token(std::move(callback)) {
    if (tokenizer != nullptr) decoder.emplace(*tokenizer);
  }

  Sequence sequence;
  SamplerState sampler;
  DraftState drafts;
  std::optional<StreamDecoder> decoder;  // nothing for models without a tokenizer
  StopStrings stop_strings;
  TokenCallback on_token;
};

}  // namespace iol
