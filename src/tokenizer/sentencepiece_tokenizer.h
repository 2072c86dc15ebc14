#pragma once
#include <filesystem>
#include <memory>

#include "tokenizer/tokenizer.h"

namespace iol {

/// A tokenizer.model, run by libsentencepiece, with the conventions of transformers' Llama
/// tokenizer: the model's beginning-of-sequence token in front when special tokens are added,
/// unless tokenizer_config.json beside the model says otherwise. Throws InputError.
std::unique_ptr<Tokenizer> load_sentencepiece_tokenizer(const std::filesystem::path& model_path);

}  // namespace iol
