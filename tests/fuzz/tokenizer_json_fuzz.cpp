// Tokenizer::from_json(): bad input is an InputError; a tokenizer that loads encodes any text,
// decodes any ids, and streams what it decodes in whole characters; errors are one line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "tokenizer/stream_decoder.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace {

std::string whole_characters(std::string text) {
  if (iol::find_invalid_utf8(text)) std::abort();
  return text;
}

void use(const iol::Tokenizer& tokenizer) {
  const std::string text = "Hello, w\u00f6rld!  123 \u4e16\u754c \U0001f600\n<s> don't";
  auto ids = tokenizer.encode(text);
  for (int id = 0; id < 300; id += 7) ids.push_back(id);
  const std::string decoded = tokenizer.decode(ids);
  iol::StreamDecoder stream(tokenizer);
  std::string streamed;
  for (const auto id : ids) streamed += whole_characters(stream.push(id));
  streamed += whole_characters(stream.finish());
  if (streamed != decoded) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  try {
    use(*iol::Tokenizer::from_json(json, "fuzz/tokenizer.json"));
  } catch (const iol::InputError& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
