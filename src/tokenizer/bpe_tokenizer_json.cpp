// Reads a tokenizer.json.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/json_node.h"

namespace iol {
namespace {

/// A token's content longer than this is no token but an attempt to make encoding slow.
constexpr std::size_t kMaxAddedTokenBytes = 1024;

Vocabulary parse_vocabulary(const JsonNode& node) {
  const auto object = node.as_object();
  std::size_t num_tokens = 0;
  std::size_t num_bytes = 0;
  for (const auto field : object) {
    ++num_tokens;
    num_bytes += field.key.size();
  }
  if (num_tokens == 0) node.fail("the vocabulary is empty");
  Vocabulary vocabulary;
  vocabulary.reserve(num_tokens, num_bytes);
  for (const auto field : object) {
    std::int64_t id = 0;
    if (field.value.get(id) != simdjson::SUCCESS || id < 0 || id >= Vocabulary::kMaxIds) {
      node.fail(fmt::format("the id of {} is not an integer from 0 to {}", in_quotes(field.key),
                            Vocabulary::kMaxIds - 1));
    }
    switch (vocabulary.add(field.key, static_cast<std::int32_t>(id))) {
      case Vocabulary::AddResult::kAdded:
        break;
      case Vocabulary::AddResult::kTokenExists:
        node.fail(fmt::format("the token {} is there twice", in_quotes(field.key)));
      case Vocabulary::AddResult::kIdExists:
        node.fail(
            fmt::format("the id {} of {} belongs to another token too", id, in_quotes(field.key)));
    }
  }
  return vocabulary;
}

struct MergeParts {
  std::string_view left;
  std::string_view right;
};

/// "a b" or ["a", "b"].
std::optional<MergeParts> split_merge(simdjson::dom::element element) {
  std::string_view text;
  if (element.get(text) == simdjson::SUCCESS) {
    const auto space = text.find(' ');
    if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
      return std::nullopt;
    }
    return MergeParts{text.substr(0, space), text.substr(space + 1)};
  }
  simdjson::dom::array pair;
  MergeParts parts;
  if (element.get(pair) != simdjson::SUCCESS || pair.size() != 2 ||
      pair.at(0).get(parts.left) != simdjson::SUCCESS ||
      pair.at(1).get(parts.right) != simdjson::SUCCESS) {
    return std::nullopt;
  }
  return parts;
}

void parse_merges(const JsonNode& node, std::size_t prefix_length, BpeModel& model) {
  simdjson::dom::array merges;
  if (node.element().get(merges) != simdjson::SUCCESS) node.fail("expected an array");
  model.reserve_merges(merges.size());
  std::size_t index = 0;
  for (const auto element : merges) {
    const auto at = index++;
    std::string_view text;
    // Files made from a merges.txt may have kept its first line.
    if (element.get(text) == simdjson::SUCCESS && text.starts_with("#version")) continue;
    const auto parts = split_merge(element);
    if (!parts || parts->left.empty() || parts->right.size() <= prefix_length) {
      node.fail(fmt::format("entry {} is not a pair of tokens", at));
    }
    if (const auto missing = model.add_merge(parts->left, parts->right)) {
      node.fail(fmt::format("entry {} needs the token {}, which is not in the vocabulary", at,
                            in_quotes(*missing)));
    }
  }
}

std::unique_ptr<const BpeModel> parse_model(const JsonNode& node) {
  const auto type = node.find("type");
  if (type && type->as_string() != "BPE") {
    type->fail(fmt::format("the model type {} is not supported (supported: BPE)",
                           in_quotes(type->as_string())));
  }
  node.allow_only({"type", "dropout", "unk_token", "continuing_subword_prefix",
                   "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges", "vocab",
                   "merges"});
  if (const auto dropout = node.find("dropout")) {
    double rate = 0;
    if (dropout->element().get(rate) != simdjson::SUCCESS || rate != 0.0) {
      dropout->fail("dropout makes encoding random; it is supported only when null or 0");
    }
  }
  BpeOptions options;
  options.continuing_subword_prefix = node.string_or("continuing_subword_prefix", "");
  options.end_of_word_suffix = node.string_or("end_of_word_suffix", "");
  options.fuse_unk = node.bool_or("fuse_unk", false);
  options.byte_fallback = node.bool_or("byte_fallback", false);
  options.ignore_merges = node.bool_or("ignore_merges", false);
  const std::size_t prefix_length = options.continuing_subword_prefix.size();
  Vocabulary vocabulary = parse_vocabulary(node.require("vocab"));
  if (const auto unk_token = node.find("unk_token")) {
    options.unk_token = unk_token->as_string();
    if (!vocabulary.find(*options.unk_token)) {
      unk_token->fail(fmt::format("{} is not in the vocabulary", in_quotes(*options.unk_token)));
    }
  }
  auto model = std::make_unique<BpeModel>(std::move(vocabulary), std::move(options));
  parse_merges(node.require("merges"), prefix_length, *model);
  return model;
}

AddedToken parse_added_token(const JsonNode& node) {
  node.allow_only({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token;
  token.content = node.require("content").as_string();
  token.id = static_cast<std::int32_t>(node.require("id").as_integer(0, Vocabulary::kMaxIds - 1));
  token.is_special = node.require("special").as_bool();
  token.is_normalized = node.require("normalized").as_bool();
  token.strips_left = node.require("lstrip").as_bool();
  token.strips_right = node.require("rstrip").as_bool();
  token.is_single_word = node.require("single_word").as_bool();
  if (token.content.empty() || token.content.size() > kMaxAddedTokenBytes) {
    node.fail(fmt::format("the content has {} bytes; supported are 1 to {}", token.content.size(),
                          kMaxAddedTokenBytes));
  }
  return token;
}

/// Checks each token against the model's vocabulary and the other tokens.
std::vector<AddedToken> parse_added_tokens(const JsonNode& node, const BpeTokenizerParts& parts) {
  const Vocabulary& vocabulary = parts.model->vocabulary();
  std::vector<AddedToken> tokens;
  Vocabulary added;
  for (const auto& item : node.as_array()) {
    AddedToken token = parse_added_token(item);
    const auto owner = vocabulary.token(token.id);
    const auto id = vocabulary.find(token.content);
    if ((owner && *owner != token.content) || (id && *id != token.id)) {
      item.fail(fmt::format("{} with the id {} contradicts the model's vocabulary",
                            in_quotes(token.content), token.id));
    }
    if (added.add(token.content, token.id) != Vocabulary::AddResult::kAdded) {
      item.fail(fmt::format("{} or its id {} is there twice", in_quotes(token.content), token.id));
    }
    std::string content = token.content;
    if (token.is_normalized && parts.normalizer) parts.normalizer->normalize(content);
    if (content.empty()) item.fail("the normalizer leaves nothing of its content");
    tokens.push_back(std::move(token));
  }
  return tokens;
}

BpeTokenizerParts parse_parts(const JsonNode& root) {
  // Truncation and padding are habits of the program that wrote the file, not of the tokenizer;
  // transformers resets them at load too.
  root.allow_only({"version", "truncation", "padding", "added_tokens", "normalizer",
                   "pre_tokenizer", "post_processor", "decoder", "model"});
  if (const auto version = root.find("version"); version && version->as_string() != "1.0") {
    version->fail(fmt::format("the version {} is not supported (supported: '1.0')",
                              in_quotes(version->as_string())));
  }
  BpeTokenizerParts parts;
  parts.model = parse_model(root.require("model"));
  if (const auto node = root.find("normalizer")) parts.normalizer = parse_normalizer(*node);
  if (const auto node = root.find("added_tokens")) {
    parts.added_tokens = parse_added_tokens(*node, parts);
  }
  int vocab_size = parts.model->vocabulary().size();
  for (const auto& token : parts.added_tokens) vocab_size = std::max(vocab_size, token.id + 1);
  if (const auto node = root.find("pre_tokenizer")) parts.pre_tokenization = PreTokenization(*node);
  if (const auto node = root.find("post_processor")) {
    parts.post_processor = PostProcessor(*node, vocab_size);
  }
  if (const auto node = root.find("decoder")) parts.decoder = Decoder(*node);
  return parts;
}

}  // namespace

std::unique_ptr<Tokenizer> parse_bpe_tokenizer(std::string_view json, std::string_view origin) {
  simdjson::dom::parser parser;
  const auto root = parse_json(parser, json, origin);
  return std::make_unique<BpeTokenizer>(parse_parts(JsonNode(root, origin, "")));
}

}  // namespace iol
