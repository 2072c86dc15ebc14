// For compilers without C++20 coroutines: servers can't be measured, and whoever asks is told so.
#include "base/error.h"
#include "bench/openai/openai_target.h"

namespace iol::bench {

struct OpenAiTarget::Client {};

OpenAiTarget::OpenAiTarget(const Endpoint& endpoint, const Options& options) {
  static_cast<void>(options);
  throw_input_error(
      "{}: this build can't speak with servers: its compiler has no C++20 coroutines (GCC 10 and "
      "Clang 15 have)",
      endpoint.url);
}

OpenAiTarget::~OpenAiTarget() = default;

// No object was ever made: what follows is never called.
void OpenAiTarget::set_bodies(std::unordered_map<std::int64_t, std::string> bodies) {
  static_cast<void>(bodies);
  IOL_CHECK(false);
}

std::optional<std::string> OpenAiTarget::send(const WorkloadRequest& request, RequestResult& result,
                                              std::function<void()> on_end) {
  static_cast<void>(request), static_cast<void>(result), static_cast<void>(on_end);
  IOL_CHECK(false);
  return std::nullopt;
}

HttpAnswer OpenAiTarget::request(const std::string& path, const std::string& body) {
  static_cast<void>(path), static_cast<void>(body);
  IOL_CHECK(false);
  return {};
}

void OpenAiTarget::cancel_all() { IOL_CHECK(false); }

bool OpenAiTarget::is_cancelled() const { return true; }

double OpenAiTarget::processor_seconds() const { return 0; }

}  // namespace iol::bench
