#pragma once
// Any engine behind an OpenAI-compatible endpoint, as a subject.
#include <memory>
#include <string>
#include <vector>

#include "bench/openai/endpoint.h"
#include "bench/openai/openai_target.h"
#include "bench/subject.h"
#include "tokenizer/tokenizer.h"

namespace iol::bench {

struct OpenAiSubjectOptions {
  Endpoint endpoint;
  std::string model;  // its name at the server; empty: the first one that the server lists
  std::string api_key;
  double request_timeout_s = 600;
  /// Turns prompts into text, and checks what the server counts; null: prompts are sent as ids,
  /// which the completions endpoint takes and the chat endpoint doesn't.
  const Tokenizer* tokenizer = nullptr;  // must outlive the subject
};

/// Speaks to the server from a thread of this process, through the same load generator as every
/// other subject. Greedy; the length is asked for with max_tokens, and with `ignore_eos` and
/// `min_tokens` where the server takes them. Counts are those of the server's `usage`; without it
/// the pieces of the stream are counted, and the records say so. Its process and memory are not
/// known.
class OpenAiSubject : public Subject {
 public:
  explicit OpenAiSubject(OpenAiSubjectOptions options);
  ~OpenAiSubject() override;

  [[nodiscard]] const std::string& name() const override { return options_.endpoint.name; }
  [[nodiscard]] const std::string& kind() const override { return kind_; }
  [[nodiscard]] const nlohmann::json& settings() const override { return settings_; }
  /// Throws ResourceError when the server can't be reached or refuses a request of one token,
  /// InputError when it has no model or needs text that there is no tokenizer for.
  nlohmann::json start(const Patience& patience) override;
  RunResult run(const Load& load, const Patience& patience) override;
  [[nodiscard]] std::optional<pid_t> process_id() const override { return std::nullopt; }
  void stop() noexcept override { target_.reset(); }

 private:
  [[nodiscard]] std::string body_of(std::span<const std::int32_t> prompt, std::int64_t max_tokens,
                                    bool streams) const;
  std::string find_model();
  void find_out_what_it_takes();

  OpenAiSubjectOptions options_;
  std::string kind_ = "openai";
  nlohmann::json settings_;
  std::string model_;
  bool takes_ignore_eos_ = true;
  std::unique_ptr<OpenAiTarget> target_;
};

/// What the answers of a run say of the server's counts: {`requests`, `without_usage`,
/// `differs_from_tokenizer`, `checked_with_tokenizer`, `cached_prompt_tokens`}. A count differs
/// when it is off by more than 10 % and more than 2 tokens.
nlohmann::json check_usage(const RunResult& result, const Tokenizer* tokenizer);

}  // namespace iol::bench
