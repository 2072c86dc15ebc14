#include "workload/mooncake_line.h"

#include <utility>

namespace iol {
namespace {

constexpr int kMostDigits = 18;  // always fit into 63 bits

/// What is left of the line.
class Scanner {
 public:
  explicit Scanner(std::string_view line) : at_(line.data()), end_(line.data() + line.size()) {}

  /// Past blanks and `expected`; false when something else stands there.
  bool take(char expected) {
    skip_blanks();
    if (at_ == end_ || *at_ != expected) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view expected) {
    skip_blanks();
    const std::string_view rest(at_, static_cast<std::size_t>(end_ - at_));
    if (!rest.starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }
  bool take(std::int64_t& number) {
    skip_blanks();
    const char* begin = at_;
    std::int64_t value = 0;
    while (at_ != end_ && *at_ >= '0' && *at_ <= '9') value = value * 10 + (*at_++ - '0');
    const auto digits = at_ - begin;
    if (digits == 0 || digits > kMostDigits || (digits > 1 && *begin == '0')) return false;
    number = value;
    return true;
  }
  bool is_at_end() {
    skip_blanks();
    return at_ == end_;
  }

 private:
  void skip_blanks() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }
  const char* at_;
  const char* end_;
};

bool take_ids(Scanner& scanner, std::vector<std::int64_t>& ids) {
  if (!scanner.take('[')) return false;
  if (scanner.take(']')) return true;
  do {
    std::int64_t id = 0;
    if (!scanner.take(id)) return false;
    ids.push_back(id);
  } while (scanner.take(','));
  return scanner.take(']');
}

}  // namespace

bool read_mooncake_line(std::string_view line, MooncakeLine& values,
                        std::vector<std::int64_t>& block_ids) {
  Scanner scanner(line);
  if (!scanner.take('{')) return false;
  bool has_time = false;
  bool has_input = false;
  bool has_output = false;
  bool has_ids = false;
  block_ids.clear();
  const auto is_new = [](bool& has) { return !std::exchange(has, true); };
  do {
    bool is_read = false;
    if (scanner.take("\"timestamp\"")) {
      is_read = is_new(has_time) && scanner.take(':') && scanner.take(values.timestamp_ms);
    } else if (scanner.take("\"input_length\"")) {
      is_read = is_new(has_input) && scanner.take(':') && scanner.take(values.input_tokens);
    } else if (scanner.take("\"output_length\"")) {
      is_read = is_new(has_output) && scanner.take(':') && scanner.take(values.output_tokens);
    } else if (scanner.take("\"hash_ids\"")) {
      is_read = is_new(has_ids) && scanner.take(':') && take_ids(scanner, block_ids);
    }
    if (!is_read) return false;
  } while (scanner.take(','));
  return scanner.take('}') && scanner.is_at_end() && has_time && has_input && has_output && has_ids;
}

}  // namespace iol
