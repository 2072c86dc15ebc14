// Tokenizer::from_json(): bad input is an InputError; a tokenizer that loads encodes any text,
// decodes any ids, and streams what it decodes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "tokenizer/stream_decoder.h"
#include "tokenizer/tokenizer.h"

namespace {

void use(const iol::Tokenizer& tokenizer) {
  const std::string text = "Hello, w\u00f6rld!  123 \u4e16\u754c \U0001f600\n<s> don't";
  auto ids = tokenizer.encode(text);
  for (int id = 0; id < 300; id += 7) ids.push_back(id);
  const std::string decoded = tokenizer.decode(ids);
  iol::StreamDecoder stream(tokenizer);
  std::string streamed;
  for (const auto id : ids) streamed += stream.push(id);
  streamed += stream.finish();
  if (streamed != decoded) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  try {
    use(*iol::Tokenizer::from_json(json, "fuzz/tokenizer.json"));
  } catch (const iol::InputError&) {
  }
  return 0;
}
