#include "bench/openai/openai_target.h"

#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

#include <array>
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <future>
#include <limits>
#include <set>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "bench/openai/completion_stream.h"
#include "bench/openai/sse_parser.h"

namespace iol::bench {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using SecureStream = beast::ssl_stream<beast::tcp_stream>;
using HttpRequest = http::request<http::string_body>;

constexpr std::size_t kMostAnswerBytes = std::size_t{16} << 20;
constexpr std::size_t kMostErrorBytes = std::size_t{64} << 10;

/// A connection to the server, plain or TLS.
struct Connection {
  std::unique_ptr<beast::tcp_stream> plain;
  std::unique_ptr<SecureStream> secure;
  beast::flat_buffer buffer;
  bool used = false;  // has carried an answer before

  beast::tcp_stream& tcp() { return plain ? *plain : beast::get_lowest_layer(*secure); }
};

/// The server has closed a connection that was kept, before it said anything: worth another try.
class StaleConnection : public std::exception {};

/// As many connections as the system lets this process have: a load may have thousands of requests
/// in flight, each on one.
void allow_many_connections() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

std::string describe(const boost::system::system_error& error, double timeout_s) {
  const auto code = error.code();
  if (code == beast::error::timeout) return fmt::format("no end within {:g} s", timeout_s);
  if (code == http::error::end_of_stream || code == http::error::partial_message ||
      code == asio::error::eof || code == asio::ssl::error::stream_truncated) {
    return "the server closed the connection before the answer had ended";
  }
  return code.message();
}

}  // namespace

struct OpenAiTarget::Client {
  Client(const Endpoint& where, const Options& how)
      : endpoint(where), options(how), work(asio::make_work_guard(context)) {
    allow_many_connections();
    resolve();
    if (endpoint.tls) {
      tls.set_default_verify_paths();
      tls.set_verify_mode(asio::ssl::verify_peer);
    }
    thread = std::thread([this] { context.run(); });
  }
  ~Client() {
    cancel_all();
    work.reset();
    thread.join();
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void resolve() {
    tcp::resolver resolver(context);
    boost::system::error_code error;
    addresses = resolver.resolve(endpoint.host, endpoint.port, error);
    if (error) {
      throw_resource_error("{}: the host '{}' can't be found: {}", endpoint.url, endpoint.host,
                           error.message());
    }
  }

  HttpRequest make_request(const std::string& path, const std::string& body) const {
    HttpRequest request(body.empty() ? http::verb::get : http::verb::post, path, 11);
    request.set(http::field::host, endpoint.host + ":" + endpoint.port);
    request.set(http::field::user_agent, "iol/" IOL_VERSION);
    request.set(http::field::accept, "text/event-stream, application/json");
    if (!options.api_key.empty()) {
      request.set(http::field::authorization, "Bearer " + options.api_key);
    }
    if (!body.empty()) {
      request.set(http::field::content_type, "application/json");
      request.body() = body;
    }
    request.prepare_payload();
    return request;
  }

  asio::awaitable<std::unique_ptr<Connection>> connect(
      std::chrono::steady_clock::time_point deadline) {
    auto connection = std::make_unique<Connection>();
    if (endpoint.tls) {
      connection->secure = std::make_unique<SecureStream>(context, tls);
    } else {
      connection->plain = std::make_unique<beast::tcp_stream>(context);
    }
    auto& stream = connection->tcp();
    open.insert(&stream);
    const Registration registration{*this, stream};
    stream.expires_at(deadline);
    co_await stream.async_connect(addresses, asio::use_awaitable);
    stream.socket().set_option(tcp::no_delay(true));
    if (connection->secure) {
      auto& secure = *connection->secure;
      if (SSL_set_tlsext_host_name(secure.native_handle(), endpoint.host.c_str()) != 1) {
        throw_resource_error("TLS: the host's name can't be set");
      }
      secure.set_verify_callback(asio::ssl::host_name_verification(endpoint.host));
      co_await secure.async_handshake(asio::ssl::stream_base::client, asio::use_awaitable);
    }
    co_return connection;
  }

  /// Keeps a stream among those that cancel_all() closes, while it is used.
  struct Registration {
    Client& client;
    beast::tcp_stream& stream;
    ~Registration() { client.open.erase(&stream); }
  };

  /// Sends a request and hands the pieces of the answer's body to `on_body` as they come; returns
  /// its status. The connection is kept when the server keeps it.
  template <class Stream>
  asio::awaitable<int> exchange_on(Stream& stream, std::unique_ptr<Connection>& connection,
                                   HttpRequest& request,
                                   const std::function<void(int, std::string_view)>& on_body) {
    const bool was_used = std::exchange(connection->used, true);
    http::response_parser<http::buffer_body> parser;
    // Of a number: Boost 1.74 takes "none" for a limit that every length exceeds.
    parser.body_limit(std::numeric_limits<std::uint64_t>::max());
    try {
      co_await http::async_write(stream, request, asio::use_awaitable);
      co_await http::async_read_header(stream, connection->buffer, parser, asio::use_awaitable);
    } catch (const boost::system::system_error& error) {
      if (was_used && error.code() != beast::error::timeout) throw StaleConnection();
      throw;
    }
    const int status = static_cast<int>(parser.get().result_int());
    std::array<char, 16384> piece;
    while (!parser.is_done()) {
      parser.get().body().data = piece.data();
      parser.get().body().size = piece.size();
      boost::system::error_code error;
      co_await http::async_read_some(stream, connection->buffer, parser,
                                     asio::redirect_error(asio::use_awaitable, error));
      if (error && error != http::error::need_buffer) throw boost::system::system_error(error);
      const std::size_t count = piece.size() - parser.get().body().size;
      if (count > 0) on_body(status, std::string_view(piece.data(), count));
    }
    if (parser.keep_alive()) kept.push_back(std::move(connection));
    co_return status;
  }

  asio::awaitable<int> exchange_once(std::unique_ptr<Connection> connection, HttpRequest& request,
                                     std::chrono::steady_clock::time_point deadline,
                                     const std::function<void(int, std::string_view)>& on_body) {
    auto& stream = connection->tcp();
    open.insert(&stream);
    const Registration registration{*this, stream};
    stream.expires_at(deadline);
    if (connection->secure) {
      SecureStream& secure = *connection->secure;
      co_return co_await exchange_on(secure, connection, request, on_body);
    }
    co_return co_await exchange_on(stream, connection, request, on_body);
  }

  asio::awaitable<int> exchange(HttpRequest request,
                                std::function<void(int, std::string_view)> on_body) {
    const auto deadline =
        std::chrono::steady_clock::now() +
        std::chrono::nanoseconds(static_cast<std::int64_t>(options.timeout_s * 1e9));
    while (!kept.empty()) {
      auto connection = std::move(kept.back());
      kept.pop_back();
      try {
        co_return co_await exchange_once(std::move(connection), request, deadline, on_body);
      } catch (const StaleConnection&) {
      }
    }
    auto connection = co_await connect(deadline);
    co_return co_await exchange_once(std::move(connection), request, deadline, on_body);
  }

  /// Reads one streamed answer into `result`.
  asio::awaitable<void> stream_answer(const std::string& body, RequestResult& result) {
    SseParser events;
    CompletionStream answer;
    std::string error_body;
    const int status =
        co_await exchange(make_request(endpoint.path, body), [&](int code, std::string_view piece) {
          if (code != 200) {
            error_body += piece.substr(0, kMostErrorBytes - error_body.size());
            return;
          }
          const auto arrived_ns = now_ns();
          events.feed(piece, [&](std::string_view data) {
            if (answer.add(data)) result.token_times_ns.push_back(arrived_ns);
          });
        });
    if (status != 200) {
      throw_resource_error("HTTP status {}: {}", status, error_message_of(error_body));
    }
    if (events.has_partial_event()) throw_resource_error("the stream ended within an event");
    if (!answer.finished()) throw_resource_error("the stream ended before the answer was finished");
    if (result.token_times_ns.empty()) throw_resource_error("an answer without any text");
    result.text = answer.text();
    result.num_input_tokens = answer.prompt_tokens();
    result.num_output_tokens = answer.completion_tokens();
    result.num_cached_tokens = answer.cached_tokens();
  }

  asio::awaitable<void> answer(const std::string& body, RequestResult& result,
                               std::function<void()> on_end) {
    try {
      co_await stream_answer(body, result);
    } catch (const boost::system::system_error& error) {
      result.error = describe(error, options.timeout_s);
    } catch (const std::exception& error) {
      result.error = error.what();
    }
    on_end();
  }

  void cancel_all() {
    cancelled = true;
    asio::post(context, [this] {
      for (auto* stream : open) stream->close();
      kept.clear();
    });
  }

  const Endpoint endpoint;
  const Options options;
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work;
  asio::ssl::context tls{asio::ssl::context::tls_client};
  tcp::resolver::results_type addresses;
  std::unordered_map<std::int64_t, std::string> bodies;
  std::atomic<bool> cancelled = false;
  std::vector<std::unique_ptr<Connection>> kept;  // open and idle
  std::set<beast::tcp_stream*> open;              // in use
  std::thread thread;                             // last: it uses all of the above
};

OpenAiTarget::OpenAiTarget(const Endpoint& endpoint, const Options& options)
    : client_(std::make_unique<Client>(endpoint, options)) {}

OpenAiTarget::~OpenAiTarget() = default;

void OpenAiTarget::set_bodies(std::unordered_map<std::int64_t, std::string> bodies) {
  client_->bodies = std::move(bodies);
  client_->cancelled = false;
}

std::optional<std::string> OpenAiTarget::send(const WorkloadRequest& request, RequestResult& result,
                                              std::function<void()> on_end) {
  if (client_->cancelled) return "cancelled";
  const std::string& body = client_->bodies.at(request.id);
  asio::post(client_->context, [this, &body, &result, on_end = std::move(on_end)]() mutable {
    asio::co_spawn(client_->context, client_->answer(body, result, std::move(on_end)),
                   asio::detached);
  });
  return std::nullopt;
}

HttpAnswer OpenAiTarget::request(const std::string& path, const std::string& body) {
  std::promise<HttpAnswer> promise;
  auto future = promise.get_future();
  asio::post(client_->context, [&] {
    asio::co_spawn(
        client_->context,
        [](Client& client, std::string path, std::string body) -> asio::awaitable<HttpAnswer> {
          HttpAnswer answer;
          answer.status = co_await client.exchange(
              client.make_request(path, body), [&](int, std::string_view piece) {
                if (answer.body.size() + piece.size() > kMostAnswerBytes) {
                  throw_resource_error("an answer of more than {} bytes", kMostAnswerBytes);
                }
                answer.body += piece;
              });
          co_return answer;
        }(*client_, path, body),
        [&](std::exception_ptr failure, HttpAnswer answer) {
          if (failure) {
            promise.set_exception(failure);
          } else {
            promise.set_value(std::move(answer));
          }
        });
  });
  try {
    return future.get();
  } catch (const boost::system::system_error& error) {
    throw_resource_error("{}: {}", client_->endpoint.url,
                         describe(error, client_->options.timeout_s));
  }
}

void OpenAiTarget::cancel_all() { client_->cancel_all(); }

bool OpenAiTarget::is_cancelled() const { return client_->cancelled; }

double OpenAiTarget::processor_seconds() const {
  clockid_t clock{};
  timespec used{};
  if (::pthread_getcpuclockid(client_->thread.native_handle(), &clock) != 0) return 0;
  if (::clock_gettime(clock, &used) != 0) return 0;
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

}  // namespace iol::bench
