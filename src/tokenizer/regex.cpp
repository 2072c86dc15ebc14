// PCRE2 behind the class Regex.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdexcept>

#include "base/error.h"
#include "tokenizer/oniguruma_syntax.h"
#include "tokenizer/pattern.h"
#include "tokenizer/utf8.h"

namespace iol {
namespace {

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using MatchData = std::unique_ptr<pcre2_match_data, Deleter<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Deleter<pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Deleter<pcre2_jit_stack_free>>;

std::string error_message(int code) {
  unsigned char buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct Regex::Compiled {
  std::unique_ptr<pcre2_code, Deleter<pcre2_code_free>> code;
};

Regex::Regex(std::string_view pattern) : compiled_(std::make_unique<Compiled>()) {
  const std::string translated = translate_oniguruma(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  compiled_->code.reset(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr));
  if (!compiled_->code) throw std::invalid_argument(error_message(error));
  // Where the JIT isn't available the interpreter gives the same matches.
  pcre2_jit_compile(compiled_->code.get(), PCRE2_JIT_COMPLETE);
}
Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

void Regex::find_matches(std::string_view text, std::vector<Span>& matches) const {
  constexpr std::size_t kFirstStackBytes = std::size_t{32} << 10;
  constexpr std::size_t kMostStackBytes = std::size_t{64} << 20;
  const MatchData data(pcre2_match_data_create(1, nullptr));
  const MatchContext context(pcre2_match_context_create(nullptr));
  const JitStack stack(pcre2_jit_stack_create(kFirstStackBytes, kMostStackBytes, nullptr));
  if (!data || !context || !stack) throw_resource_error("out of memory for a regular expression");
  pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  std::size_t from = 0;
  std::size_t last_end = std::string_view::npos;
  while (from <= text.size()) {
    const int found = pcre2_match(compiled_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()),
                                  text.size(), from, PCRE2_NO_UTF_CHECK, data.get(), context.get());
    if (found == PCRE2_ERROR_NOMATCH) return;
    if (found < 0) {
      throw_input_error("the tokenizer's split pattern fails on this text at byte {}: {}", from,
                        error_message(found));
    }
    const PCRE2_SIZE* match = pcre2_get_ovector_pointer(data.get());
    const std::size_t begin = match[0];
    const std::size_t end = match[1];
    if (begin == end && end == last_end) {
      from = end < text.size() ? end + utf8_length(text[end]) : end + 1;
      continue;
    }
    matches.push_back({begin, end, true});
    from = end;
    last_end = end;
  }
}

}  // namespace iol
