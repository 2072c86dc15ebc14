// ShareGPT: one JSON array of conversations; the first question and its answer are the request.
#include <fmt/format.h>
#include <simdjson.h>

#include <cmath>

#include "base/error.h"
#include "workload/trace_forms.h"

namespace iol {
namespace {

class Conversations final : public TraceReader {
 public:
  Conversations(TextChunks text, const TraceOptions& options)
      : TraceReader(options), text_(std::move(text)), bytes_per_token_(options.bytes_per_token) {}

  TraceForm form() const override { return TraceForm::kShareGpt; }
  bool lengths_are_estimated() const override { return true; }
  std::int64_t skipped() const override { return skipped_; }

 protected:
  bool read(TraceRequest& request) override {
    while (true) {
      const auto text = text_.next_object();
      if (!text) return false;
      simdjson::dom::object object;
      const auto error =
          parser_.parse(text->data(), text->size(), /*realloc_if_needed=*/false).get(object);
      if (error != simdjson::SUCCESS) fail("not a JSON object; the file is damaged");
      if (read_conversation(object, request)) return true;
      ++skipped_;
    }
  }

  [[noreturn]] void fail(std::string_view problem) const override {
    throw_input_error("{}:{}: {}", text_.path(), text_.line(), problem);
  }

 private:
  /// False for fewer than two turns.
  bool read_conversation(const simdjson::dom::object& object, TraceRequest& request) const {
    simdjson::dom::array turns;
    bool found = false;
    for (const char* name : {"conversations", "conversation", "messages"})
      found = found || object[name].get(turns) == simdjson::SUCCESS;
    if (!found) fail("no 'conversations' (or 'messages') array; known here is ShareGPT");
    std::int64_t lengths[2] = {0, 0};
    std::size_t count = 0;
    for (const auto turn : turns) {
      std::string_view value;
      if (turn["value"].get(value) != simdjson::SUCCESS &&
          turn["content"].get(value) != simdjson::SUCCESS) {
        fail("a turn has neither 'value' nor 'content' with a text");
      }
      if (count < 2) lengths[count] = tokens(value);
      if (++count == 2) break;
    }
    if (count < 2) return false;
    request.input_tokens = lengths[0];
    request.output_tokens = lengths[1];
    request.failed = request.output_tokens == 0;
    return true;
  }

  [[nodiscard]] std::int64_t tokens(std::string_view text) const {
    return static_cast<std::int64_t>(
        std::ceil(static_cast<double>(text.size()) / bytes_per_token_));
  }

  TextChunks text_;
  double bytes_per_token_;
  std::int64_t skipped_ = 0;
  simdjson::dom::parser parser_;
};

}  // namespace

std::unique_ptr<TraceReader> open_conversations(TextChunks text, const TraceOptions& options) {
  return std::make_unique<Conversations>(std::move(text), options);
}

}  // namespace iol
