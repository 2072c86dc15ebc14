#pragma once
// Server-sent events, as they come in pieces over a connection.
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace iol::bench {

/// Turns the bytes of an event stream into the data of its events, wherever the pieces are cut
/// (WHATWG HTML, 9.2.6, "Interpreting an event stream"): lines end with LF, CR or CRLF, `data:`
/// lines of one event are joined by LF, comments and other fields are skipped, an empty line ends
/// the event. Bounded: throws InputError for an event longer than kMaxEventBytes.
class SseParser {
 public:
  static constexpr std::size_t kMaxEventBytes = std::size_t{4} << 20;

  /// Calls `on_event` with the data of each event that `bytes` completes; the view is valid during
  /// the call.
  void feed(std::string_view bytes, const std::function<void(std::string_view data)>& on_event);
  /// True when the stream has ended within an event: what was fed of it is lost.
  [[nodiscard]] bool has_partial_event() const { return has_data_ || !line_.empty(); }

 private:
  void end_line(const std::function<void(std::string_view)>& on_event);

  std::string line_;
  std::string data_;
  bool has_data_ = false;
  bool after_cr_ = false;  // a line feed now belongs to the line that has ended
  bool at_start_ = true;   // a byte order mark may come
};

}  // namespace iol::bench
