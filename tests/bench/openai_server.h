#pragma once
// A server of the tests' own: whatever a test wants to be said over a connection is said.
#include <fmt/format.h>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

namespace iol::bench {

/// Serves HTTP on a port of 127.0.0.1, one thread per connection. GET /v1/models lists "tiny"; what
/// is posted goes to `answer`, which writes the answer itself; when it returns false the connection
/// is closed.
class OpenAiServer {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  using Request = boost::beast::http::request<boost::beast::http::string_body>;
  using Answer = std::function<bool(Socket&, const nlohmann::json&)>;

  explicit OpenAiServer(Answer answer)
      : answer_(std::move(answer)),
        acceptor_(context_, {boost::asio::ip::address_v4::loopback(), 0}),
        thread_([this] { accept(); }) {}

  ~OpenAiServer() {
    stopping_ = true;
    boost::system::error_code ignored;
    Socket knock(context_);
    knock.connect(acceptor_.local_endpoint(), ignored);  // wakes accept()
    thread_.join();
    {
      const std::lock_guard lock(mutex_);
      for (auto& socket : sockets_) socket->shutdown(Socket::shutdown_both, ignored);
    }
    for (auto& connection : connections_) connection.join();
  }

  [[nodiscard]] std::string url() const {
    return fmt::format("http://127.0.0.1:{}", acceptor_.local_endpoint().port());
  }

  std::atomic<int> num_connections = 0;
  std::atomic<int> num_requests = 0;
  /// Of the last request.
  [[nodiscard]] std::string authorization() const {
    const std::lock_guard lock(mutex_);
    return authorization_;
  }

  // --- what answers are made of ---

  static bool write(Socket& socket, const std::string& bytes) {
    boost::system::error_code error;
    boost::asio::write(socket, boost::asio::buffer(bytes), error);
    return !error;
  }
  static bool whole(Socket& socket, int status, const std::string& body) {
    return write(socket, fmt::format("HTTP/1.1 {} X\r\nContent-Type: application/json\r\n"
                                     "Content-Length: {}\r\n\r\n{}",
                                     status, body.size(), body));
  }
  static bool stream_head(Socket& socket) {
    return write(socket,
                 "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n");
  }
  static bool piece(Socket& socket, const std::string& bytes) {
    return write(socket, fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes));
  }
  static bool stream_end(Socket& socket) { return write(socket, "0\r\n\r\n"); }
  static std::string event(const nlohmann::json& chunk) { return "data: " + chunk.dump() + "\n\n"; }
  static std::string text_event(const std::string& text) {
    return event({{"choices", {{{"index", 0}, {"text", text}, {"finish_reason", nullptr}}}}});
  }
  static std::string last_events(int completion_tokens) {
    return event({{"choices", {{{"index", 0}, {"text", ""}, {"finish_reason", "length"}}}}}) +
           event({{"choices", nlohmann::json::array()},
                  {"usage", {{"prompt_tokens", 5}, {"completion_tokens", completion_tokens}}}}) +
           "data: [DONE]\n\n";
  }
  /// A well-behaved answer of `max_tokens` pieces, `gap` apart.
  static bool good(Socket& socket, const nlohmann::json& request,
                   std::chrono::milliseconds gap = std::chrono::milliseconds(1)) {
    const int tokens = request.at("max_tokens");
    if (!request.value("stream", false)) {
      return whole(socket, 200, R"({"choices": [{"text": "x"}]})");
    }
    if (!stream_head(socket)) return false;
    for (int i = 0; i < tokens; ++i) {
      std::this_thread::sleep_for(gap);
      if (!piece(socket, text_event(fmt::format("w{} ", i)))) return false;
    }
    return piece(socket, last_events(tokens)) && stream_end(socket);
  }

 private:
  void accept() {
    while (true) {
      auto socket = std::make_shared<Socket>(context_);  // held by its thread and the destructor
      boost::system::error_code error;
      acceptor_.accept(*socket, error);
      if (stopping_ || error) return;
      ++num_connections;
      const std::lock_guard lock(mutex_);
      sockets_.push_back(socket);
      connections_.emplace_back([this, socket] { serve(*socket); });
    }
  }

  void serve(Socket& socket) {
    boost::beast::flat_buffer buffer;
    while (true) {
      Request request;
      boost::system::error_code error;
      boost::beast::http::read(socket, buffer, request, error);
      if (error) break;
      if (request.method() == boost::beast::http::verb::get) {
        if (!whole(socket, 200, R"({"data": [{"id": "tiny"}]})")) break;
        continue;
      }
      ++num_requests;
      {
        const std::lock_guard lock(mutex_);
        authorization_ = std::string(request[boost::beast::http::field::authorization]);
      }
      if (!answer_(socket, nlohmann::json::parse(request.body()))) break;
    }
    boost::system::error_code ignored;
    socket.shutdown(Socket::shutdown_both, ignored);
    socket.close(ignored);
  }

  Answer answer_;
  boost::asio::io_context context_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;
  std::string authorization_;
  std::vector<std::shared_ptr<Socket>> sockets_;
  std::vector<std::thread> connections_;
  std::thread thread_;
};

}  // namespace iol::bench
