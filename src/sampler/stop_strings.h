#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace iol {

/// Cuts a streamed text before the first stop string, and holds back what may turn out to be the
/// beginning of one. Independent of how the text is cut into pieces.
///
/// First means: completed first; among those that end at the same byte, the longest. A stop string
/// and the text are UTF-8 and pieces are whole characters, so what is released is too.
class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> stops);

  /// Takes the next piece and returns the text that can be shown now. With `may_stop` false no
  /// match ends in this piece: so for the first min_tokens output tokens.
  std::string push(std::string_view piece, bool may_stop = true);
  /// The text has ended otherwise: returns what was held back. After a match: nothing.
  std::string finish();
  /// True once a stop string was found; later pieces are ignored.
  [[nodiscard]] bool stopped() const { return stopped_; }

 private:
  [[nodiscard]] std::optional<std::size_t> find_first(std::size_t num_old) const;

  std::vector<std::string> stops_;
  std::string held_;  // may begin a stop string
  bool stopped_ = false;
};

}  // namespace iol
