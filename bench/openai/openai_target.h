#pragma once
// An OpenAI-compatible server as the target of a load.
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "bench/load_target.h"
#include "bench/openai/endpoint.h"

namespace iol::bench {

/// What came of a request that isn't part of a load.
struct HttpAnswer {
  int status = 0;
  std::string body;
};

/// Speaks HTTP/1.1 with a server, over TLS where the endpoint says so (certificates are verified
/// against the system's, or those that SSL_CERT_FILE names). One thread of its own drives all
/// connections, which are kept open for the next request. Times of tokens are read when the piece
/// of the stream that brought them has arrived.
class OpenAiTarget : public LoadTarget {
 public:
  struct Options {
    std::string api_key;     // empty: none is sent
    double timeout_s = 600;  // of one request, from its sending to its end
  };

  /// Looks the host up. Throws ResourceError when it can't be found.
  OpenAiTarget(const Endpoint& endpoint, const Options& options);
  ~OpenAiTarget() override;
  OpenAiTarget(const OpenAiTarget&) = delete;
  OpenAiTarget& operator=(const OpenAiTarget&) = delete;

  /// The documents that the requests of a load are sent as, by their ids: made before the clock
  /// runs. Not during a load.
  void set_bodies(std::unordered_map<std::int64_t, std::string> bodies);

  /// Fails the request for a status other than 200, an error in the stream, a stream that ends
  /// before the server says that it is finished, an answer without text, and the timeout.
  std::optional<std::string> send(const WorkloadRequest& request, RequestResult& result,
                                  std::function<void()> on_end) override;

  /// GET where `body` is empty, else POST; waits for the whole answer, of 16 MB at most. Throws
  /// ResourceError when the server can't be reached or doesn't answer.
  HttpAnswer request(const std::string& path, const std::string& body);

  /// Ends every request under way and refuses those to come, until the next set_bodies().
  void cancel_all();
  [[nodiscard]] bool is_cancelled() const override;
  /// What the connections' thread has used so far.
  [[nodiscard]] double processor_seconds() const;

 private:
  struct Client;
  std::unique_ptr<Client> client_;
};

}  // namespace iol::bench
