#include "tokenizer/tokenizer.h"

#include "base/error.h"
#include "base/mapped_file.h"
#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/sentencepiece_tokenizer.h"
#include "tokenizer/utf8.h"

namespace iol {

std::unique_ptr<Tokenizer> Tokenizer::load(const std::filesystem::path& folder) {
  const auto json_path = folder / "tokenizer.json";
  const auto model_path = folder / "tokenizer.model";
  if (std::filesystem::exists(json_path)) {
    const MappedFile file(json_path);
    const auto bytes = file.bytes();
    return from_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                     json_path.string());
  }
  if (std::filesystem::exists(model_path)) return load_sentencepiece_tokenizer(model_path);
  throw_input_error(
      "'{}' has neither tokenizer.json nor tokenizer.model; download the model's tokenizer files",
      folder.string());
}

std::unique_ptr<Tokenizer> Tokenizer::from_json(std::string_view json, std::string_view origin) {
  return parse_bpe_tokenizer(json, origin);
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  if (const auto offset = find_invalid_utf8(text)) {
    throw_input_error("the text is not valid UTF-8 at byte {}; convert it to UTF-8", *offset);
  }
  return encode_valid(text, add_special_tokens);
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  const auto stream = start_decoding(skip_special_tokens);
  std::string text;
  for (const std::int32_t id : ids) stream->push(id, text);
  stream->finish(text);
  return text;
}

std::string Tokenizer::token(std::int32_t id) const {
  auto token = find_token(id);
  if (!token) {
    throw_input_error("no token has the id {}; the vocabulary's ids are below {}", id,
                      vocab_size());
  }
  return *std::move(token);
}

std::vector<std::int32_t> Tokenizer::special_token_ids() const {
  std::vector<std::int32_t> ids;
  for (std::int32_t id = 0; id < vocab_size(); ++id) {
    if (is_special(id)) ids.push_back(id);
  }
  return ids;
}

}  // namespace iol
