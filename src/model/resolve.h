#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "model/config.h"

namespace iol {

/// What a MODEL argument names: a folder, or the name of a synthetic shape (without its prefix).
struct ResolvedModel {
  std::filesystem::path folder;
  std::optional<std::string> synthetic;
};

/// `synthetic:NAME`; an existing folder; `demo`, or `demo-draft`, which drafts for it; a Hub id
/// (`org/name`) in the local Hugging Face cache. Throws InputError that says what was looked for
/// and, for a Hub id, the command that downloads it.
ResolvedModel resolve_model(const std::string& model);

/// Of a synthetic shape, or of the folder's config.json. Throws InputError.
ModelConfig load_model_config(const ResolvedModel& model);

/// A shipped file or folder (`books-16m`, `heldout.txt`): in $IOL_MODELS_DIR, beside an installed
/// program
/// (../share/iol/models), or in the source tree above the program or the working directory.
std::optional<std::filesystem::path> find_shipped(const std::string& name);

}  // namespace iol
