#pragma once
// Tokenizers of every form and what the reference packages make of difficult text with them; see
// tests/goldens/make_tokenizer_goldens.py.
#include <cstdint>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace iol::test {

inline const std::vector<std::string> kTokenizerForms = {"gpt2",   "llama3",       "qwen2", "gpt4o",
                                                         "llama2", "mistral",      "mixed", "words",
                                                         "books",  "sentencepiece"};

inline std::string read_file(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

struct TokenizerGolden {
  std::unique_ptr<Tokenizer> tokenizer;
  nlohmann::json golden;
};

inline TokenizerGolden load_golden(const std::string& form) {
  const std::string folder = IOL_SOURCE_DIR "/tests/goldens/tokenizer/";
  TokenizerGolden loaded;
  if (form == "sentencepiece") {
    loaded.tokenizer = Tokenizer::load(folder + form);
  } else if (form == "books") {
    loaded.tokenizer = Tokenizer::load(IOL_SOURCE_DIR "/models/books-16m");
  } else {
    loaded.tokenizer = Tokenizer::from_json(read_file(folder + form + ".json"), form + ".json");
  }
  loaded.golden = nlohmann::json::parse(read_file(folder + form + "_cases.json"));
  return loaded;
}

}  // namespace iol::test
