// OpenAI endpoints: URLs, event streams, and a server that does all the things servers do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "bench/child_process.h"
#include "bench/openai/completion_stream.h"
#include "bench/openai/endpoint.h"
#include "bench/openai/openai_subject.h"
#include "bench/openai/sse_parser.h"
#include "bench/pytorch_subject.h"
#include "tests/bench/openai_server.h"

namespace iol::bench {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using Server = OpenAiServer;

TEST(Endpoint, knows_where_completions_are) {
  const auto plain = parse_endpoint("http://localhost:8000", "");
  EXPECT_EQ(plain.path, "/v1/completions");
  EXPECT_EQ(plain.base, "/v1");
  EXPECT_EQ(plain.port, "8000");
  EXPECT_EQ(plain.name, "localhost:8000");
  EXPECT_FALSE(plain.tls || plain.chat);
  const auto chat = parse_endpoint("https://api.example.com/v1/chat/completions", "theirs");
  EXPECT_TRUE(chat.tls && chat.chat);
  EXPECT_EQ(chat.port, "443");
  EXPECT_EQ(chat.base, "/v1");
  EXPECT_EQ(chat.name, "theirs");
  EXPECT_EQ(parse_endpoint("http://h/openai/v1/", "").path, "/openai/v1/completions");
  EXPECT_EQ(parse_endpoint("http://[::1]:9/v1/completions", "").host, "::1");
}

TEST(Endpoint, refuses_what_is_none) {
  for (const char* url : {"", "localhost:8000", "ftp://h", "http://", "http://:80", "http://h:",
                          "http://h:0", "http://h:99999", "http://h:80x", "http://user:key@h",
                          "http://h/v1?key=1", "http://[::1", "http://h /v1", "http://h\n"}) {
    EXPECT_THROW(parse_endpoint(url, ""), InputError) << url;
  }
}

TEST(Endpoint, a_word_after_a_url_is_its_name) {
  std::vector<std::string> engines = {"pytorch", "openai:http://a:1", "vllm", "openai:http://b:2",
                                      "iol"};
  const auto endpoints = take_endpoints(engines);
  EXPECT_EQ(engines, (std::vector<std::string>{"pytorch", "iol"}));
  ASSERT_EQ(endpoints.size(), 2U);
  EXPECT_EQ(endpoints[0].name, "vllm");
  EXPECT_EQ(endpoints[1].name, "b:2");
  std::vector<std::string> twice = {"openai:http://a:1", "openai:http://a:1"};
  EXPECT_THROW(take_endpoints(twice), InputError);
}

std::vector<std::string> events_of(const std::string& bytes, std::size_t cut = 0) {
  std::vector<std::string> events;
  SseParser parser;
  const auto keep = [&](std::string_view data) { events.emplace_back(data); };
  if (cut == 0) {
    for (const char c : bytes) parser.feed(std::string_view(&c, 1), keep);
  } else {
    parser.feed(std::string_view(bytes).substr(0, cut), keep);
    parser.feed(std::string_view(bytes).substr(cut), keep);
  }
  return events;
}

TEST(SseParser, follows_the_standard_wherever_the_stream_is_cut) {
  // The examples of WHATWG HTML 9.2.6, and line ends of every kind.
  const std::string stream =
      "\xef\xbb\xbf"
      "data: YHOO\ndata: +2\ndata: 10\n\n"
      ": a comment\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
      "data\n\ndata\ndata\n\nevent: x\r\ndata: crlf\r\n\r\ndata: cr\r\rdata: unfinished\n";
  const std::vector<std::string> expected = {
      "YHOO\n+2\n10", "first event", "second event", " third event", "", "\n", "crlf", "cr"};
  EXPECT_EQ(events_of(stream), expected);
  for (std::size_t cut = 1; cut < stream.size(); ++cut) {
    EXPECT_EQ(events_of(stream, cut), expected) << cut;
  }
}

TEST(SseParser, knows_that_something_is_missing) {
  SseParser parser;
  parser.feed("data: half", [](std::string_view) { FAIL(); });
  EXPECT_TRUE(parser.has_partial_event());
  int events = 0;
  parser.feed("\n\n", [&](std::string_view) { ++events; });
  EXPECT_EQ(events, 1);
  EXPECT_FALSE(parser.has_partial_event());
}

TEST(SseParser, an_endless_event_is_refused) {
  SseParser parser;
  const std::string piece(1 << 20, 'x');
  EXPECT_THROW(
      {
        for (int i = 0; i < 8; ++i) parser.feed(piece, [](std::string_view) {});
      },
      InputError);
}

TEST(CompletionStream, reads_completions_and_chat) {
  CompletionStream completion;
  EXPECT_TRUE(completion.add(R"({"choices": [{"text": "Hel"}]})"));
  EXPECT_TRUE(completion.add(R"({"choices": [{"text": "lo", "finish_reason": "length"}]})"));
  EXPECT_FALSE(completion.add(
      R"({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2,
          "prompt_tokens_details": {"cached_tokens": 3}}})"));
  EXPECT_TRUE(completion.finished());
  EXPECT_EQ(completion.text(), "Hello");
  EXPECT_EQ(completion.prompt_tokens(), 7);
  EXPECT_EQ(completion.completion_tokens(), 2);
  EXPECT_EQ(completion.cached_tokens(), 3);
  CompletionStream chat;
  EXPECT_FALSE(chat.add(R"({"choices": [{"delta": {"role": "assistant", "content": ""}}]})"));
  EXPECT_TRUE(chat.add(R"({"choices": [{"delta": {"content": "Hi"}}], "usage": null})"));
  EXPECT_FALSE(chat.finished());
  EXPECT_FALSE(chat.add("[DONE]"));
  EXPECT_TRUE(chat.finished());
}

TEST(CompletionStream, refuses_what_is_no_chunk) {
  for (const char* data :
       {"", "nonsense", "[1]", "3", R"({"choices": [3]})",
        R"({"error": {"message": "overloaded"}})", R"({"error": "no"})",
        R"({"usage": {"completion_tokens": -1}})", R"({"usage": {"completion_tokens": 1e99}})",
        R"({"usage": {"prompt_tokens": "many"}})"}) {
    CompletionStream stream;
    EXPECT_THROW(stream.add(data), InputError) << data;
  }
}

class OpenAi : public ::testing::Test {
 protected:
  static std::unique_ptr<OpenAiSubject> subject(const Server& server, double timeout_s = 5) {
    OpenAiSubjectOptions options;
    options.endpoint = parse_endpoint(server.url(), "tiny");
    options.api_key = "secret";
    options.request_timeout_s = timeout_s;
    return std::make_unique<OpenAiSubject>(std::move(options));
  }

  static std::vector<WorkloadRequest> requests(int count, std::int64_t tokens) {
    std::vector<WorkloadRequest> all;
    for (int i = 0; i < count; ++i) all.push_back({i, {1, 2, 3}, tokens});
    return all;
  }

  /// The error of one request that is answered like this, once the subject has started.
  static std::string error_of(const Server::Answer& answer, double timeout_s = 5) {
    std::atomic<bool> started = false;
    Server server([&](Server::Socket& socket, const json& request) {
      return started ? answer(socket, request) : Server::good(socket, request);
    });
    const auto one = subject(server, timeout_s);
    one->start({});
    started = true;
    const auto load = requests(1, 4);
    const auto result = one->run({Phase::kMeasure, 1, load}, {});
    return result.requests[0].error.value_or("");
  }
};

TEST_F(OpenAi, counts_what_usage_says_and_keeps_connections) {
  Server server([](Server::Socket& socket, const json& request) {
    EXPECT_EQ(request.at("model"), "tiny");
    if (request.value("stream", false)) {
      EXPECT_EQ(request.at("prompt"), json::array({1, 2, 3}));
    }
    return Server::good(socket, request);
  });
  const auto one = subject(server);
  const auto ready = one->start({});
  EXPECT_EQ(ready.at("settings").at("served_model"), "tiny");
  const auto load = requests(12, 5);
  const auto result = one->run({Phase::kMeasure, 3, load}, {});
  ASSERT_EQ(result.requests.size(), 12U);
  for (const auto& request : result.requests) {
    EXPECT_FALSE(request.error) << *request.error;
    EXPECT_EQ(request.num_output_tokens, 5);
    EXPECT_EQ(request.num_input_tokens, 5);
    EXPECT_EQ(request.token_times_ns.size(), 5U);
    EXPECT_EQ(request.text, "w0 w1 w2 w3 w4 ");
    EXPECT_TRUE(std::is_sorted(request.token_times_ns.begin(), request.token_times_ns.end()));
    EXPECT_GE(request.token_times_ns.front(), request.start_ns);
  }
  EXPECT_LE(server.num_connections, 4);  // 12 requests and those of the start
  EXPECT_EQ(server.authorization(), "Bearer secret");
}

TEST_F(OpenAi, an_open_loop_sends_to_a_server_too) {
  Server server([](Server::Socket& socket, const json& request) {
    return Server::good(socket, request, std::chrono::milliseconds(20));
  });
  const auto one = subject(server);
  one->start({});
  auto load = requests(20, 5);
  for (std::size_t i = 0; i < load.size(); ++i) load[i].due_ns = static_cast<int>(i) * 1'000'000;
  const auto result = one->run({Phase::kMeasure, 0, load}, {});
  EXPECT_GT(result.details.at("generator").at("in_flight_max"), 10);
  for (const auto& request : result.requests) EXPECT_FALSE(request.error);
}

TEST_F(OpenAi, a_server_that_takes_no_extensions_is_not_sent_them) {
  Server server([](Server::Socket& socket, const json& request) {
    if (request.contains("ignore_eos")) {
      return Server::whole(socket, 422, R"({"detail": "unexpected key"})");
    }
    return Server::good(socket, request);
  });
  const auto one = subject(server);
  EXPECT_EQ(one->start({}).at("settings").at("ignore_eos"), false);
  const auto load = requests(2, 3);
  EXPECT_FALSE(one->run({Phase::kMeasure, 1, load}, {}).requests[1].error);
}

TEST_F(OpenAi, pieces_cut_anywhere_are_one_stream) {
  Server server([](Server::Socket& socket, const json& request) {
    if (!request.value("stream", false)) return Server::good(socket, request);
    Server::stream_head(socket);
    const std::string bytes =
        Server::text_event("a") + Server::text_event("b") + Server::last_events(2);
    for (const char c : bytes) Server::piece(socket, std::string(1, c));
    return Server::stream_end(socket);
  });
  const auto one = subject(server);
  one->start({});
  const auto load = requests(1, 2);
  const auto result = one->run({Phase::kMeasure, 1, load}, {});
  EXPECT_EQ(result.requests[0].text, "ab");
  EXPECT_EQ(result.requests[0].num_output_tokens, 2);
}

TEST_F(OpenAi, an_error_status_is_the_error_of_its_request) {
  EXPECT_THAT(error_of([](Server::Socket& socket, const json&) {
                return Server::whole(socket, 429,
                                     R"({"error": {"message": "too many\nrequests"}})");
              }),
              HasSubstr("HTTP status 429: too many requests"));
  EXPECT_THAT(
      error_of([](Server::Socket& socket, const json&) { return Server::whole(socket, 500, ""); }),
      HasSubstr("HTTP status 500: no message"));
}

TEST_F(OpenAi, a_stream_that_ends_too_early_is_an_error) {
  const auto cut_off = [](const std::string& bytes, bool ends) {
    return [=](Server::Socket& socket, const json&) {
      Server::stream_head(socket);
      Server::piece(socket, bytes);
      return ends && Server::stream_end(socket);
    };
  };
  EXPECT_THAT(error_of(cut_off(Server::text_event("a") + "data: {\"cho", true)),
              HasSubstr("ended within an event"));
  EXPECT_THAT(error_of(cut_off(Server::text_event("a"), true)), HasSubstr("before the answer"));
  EXPECT_THAT(error_of(cut_off(Server::text_event("a"), false)),
              HasSubstr("closed the connection"));
  EXPECT_THAT(error_of(cut_off(Server::last_events(0), true)), HasSubstr("without any text"));
  EXPECT_THAT(error_of(cut_off("data: {broken}\n\n", true)), HasSubstr("no completion chunk"));
  EXPECT_THAT(error_of(cut_off("data: {\"error\": {\"message\": \"out of memory\"}}\n\n", true)),
              HasSubstr("reported an error: out of memory"));
}

TEST_F(OpenAi, a_server_that_hangs_is_a_timeout) {
  EXPECT_THAT(error_of(
                  [](Server::Socket& socket, const json&) {
                    Server::stream_head(socket);
                    Server::piece(socket, Server::text_event("a"));
                    std::this_thread::sleep_for(std::chrono::milliseconds(900));
                    return false;
                  },
                  0.4),
              HasSubstr("no end within 0.4 s"));
}

TEST_F(OpenAi, a_server_that_dies_fails_what_is_under_way_and_the_rest_goes_on) {
  std::atomic<int> count = 0;
  Server server([&](Server::Socket& socket, const json& request) {
    if (++count == 4) return false;  // without a word, on a connection that has served before
    if (count == 6) {
      Server::stream_head(socket);
      return false;
    }
    return Server::good(socket, request);
  });
  const auto one = subject(server);
  one->start({});
  const auto load = requests(8, 3);
  const auto result = one->run({Phase::kMeasure, 1, load}, {});
  int failed = 0;
  for (const auto& request : result.requests) failed += request.error ? 1 : 0;
  EXPECT_EQ(failed, 1);  // the silent one was sent again over a new connection
}

TEST_F(OpenAi, missing_usage_is_said) {
  Server server([](Server::Socket& socket, const json& request) {
    if (!request.value("stream", false)) return Server::good(socket, request);
    Server::stream_head(socket);
    for (int i = 0; i < 3; ++i) Server::piece(socket, Server::text_event("x"));
    Server::piece(socket, "data: [DONE]\n\n");
    return Server::stream_end(socket);
  });
  const auto one = subject(server);
  one->start({});
  const auto load = requests(2, 3);
  const auto result = one->run({Phase::kMeasure, 1, load}, {});
  EXPECT_FALSE(result.requests[0].num_output_tokens);
  EXPECT_EQ(result.details.at("usage").at("without_usage"), 2);
}

TEST_F(OpenAi, counts_that_the_tokenizer_does_not_confirm_are_counted) {
  const auto tokenizer = Tokenizer::load(std::string(IOL_SOURCE_DIR) + "/models/books-2m");
  RunResult result;
  for (const std::int64_t claimed : {4, 5, 50}) {
    RequestResult request;
    request.text = "It was a dark night";
    request.num_output_tokens = claimed;
    result.requests.push_back(std::move(request));
  }
  const auto tokens = tokenizer->encode("It was a dark night", false).size();
  ASSERT_GE(tokens, 4U);
  ASSERT_LE(tokens, 7U);
  const auto usage = check_usage(result, tokenizer.get());
  EXPECT_EQ(usage.at("checked_with_tokenizer"), 3);
  EXPECT_EQ(usage.at("differs_from_tokenizer"), 1);
}

TEST_F(OpenAi, an_interrupt_ends_the_load) {
  Server server([](Server::Socket& socket, const json& request) {
    return Server::good(socket, request, std::chrono::milliseconds(50));
  });
  const auto one = subject(server);
  one->start({});
  const auto load = requests(1000, 100);
  int polls = 0;
  Patience patience;
  patience.interrupted = [&] { return ++polls > 3; };
  EXPECT_THROW(one->run({Phase::kMeasure, 2, load}, patience), Interrupted);
}

/// transformers behind an HTTP server, on the small model: what the goldens were made with.
class RealServer : public ::testing::TestWithParam<bool> {};

TEST_P(RealServer, gives_the_tokens_and_counts_of_transformers) {
  const auto python = find_python_environment();
  if (!python.missing.empty()) GTEST_SKIP() << python.missing;
  const std::filesystem::path source = IOL_SOURCE_DIR;
  const auto model = source / "models/books-2m";
  ChildProcess server({python.python.string(),
                       (source / "tests/bench/tiny_openai_server.py").string(), model.string()});
  const auto port = server.read_line(120, {});
  ASSERT_EQ(port.outcome, ReadOutcome::kLine) << server.stderr_tail(5);
  const auto tokenizer = Tokenizer::load(model);
  OpenAiSubjectOptions options;
  const char* path = GetParam() ? "/v1/chat/completions" : "/v1";
  options.endpoint = parse_endpoint("http://127.0.0.1:" + port.line + path, "transformers");
  options.tokenizer = tokenizer.get();
  OpenAiSubject subject(std::move(options));
  const auto ready = subject.start({});
  EXPECT_EQ(ready.at("settings").at("served_model"), "books-2m");
  EXPECT_EQ(ready.at("settings").at("ignore_eos"), false);
  const auto goldens = json::parse(std::ifstream(source / "tests/goldens/baseline_greedy.json"));
  std::vector<WorkloadRequest> load;
  std::vector<std::string> texts;
  for (const auto& golden : goldens.at("requests")) {
    const auto prompt = golden.at("prompt").get<std::vector<std::int32_t>>();
    // Prompts that don't come back from their text would be other prompts.
    if (tokenizer->encode(tokenizer->decode(prompt), false) != prompt) continue;
    const auto tokens = golden.at("tokens").get<std::vector<std::int32_t>>();
    texts.push_back(tokenizer->decode(tokens));
    load.push_back(
        {static_cast<std::int64_t>(load.size()), prompt, static_cast<std::int64_t>(tokens.size())});
  }
  ASSERT_GE(load.size(), 2U);
  const auto result = subject.run({Phase::kMeasure, 2, load}, {});
  for (std::size_t i = 0; i < load.size(); ++i) {
    const auto& one = result.requests[i];
    ASSERT_FALSE(one.error) << *one.error;
    EXPECT_EQ(one.text, texts[i]);
    EXPECT_EQ(one.num_output_tokens, load[i].output_tokens);
    EXPECT_EQ(one.num_input_tokens, static_cast<std::int64_t>(load[i].prompt_tokens.size()));
  }
  EXPECT_EQ(result.details.at("usage").at("differs_from_tokenizer"), 0);
  server.stop(2);
}

INSTANTIATE_TEST_SUITE_P(Forms, RealServer, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "chat" : "completions"; });

TEST(OpenAiTls, a_certificate_is_verified_against_the_authorities) {
  const std::string base = ::testing::TempDir() + "openai_tls_" + std::to_string(::getpid());
  const std::string certificate = base + ".crt";
  const std::string key = base + ".key";
  const std::string make =
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
      "-days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout " +
      key + " -out " + certificate + " 2>/dev/null";
  ASSERT_EQ(std::system(make.c_str()), 0) << "needs the openssl command";
  ChildProcess server({"python3", std::string(IOL_SOURCE_DIR) + "/tests/bench/tls_openai_server.py",
                       certificate, key});
  const auto port = server.read_line(30, {});
  ASSERT_EQ(port.outcome, ReadOutcome::kLine) << server.stderr_tail(5);
  const auto subject_at = [&](const std::string& host) {
    OpenAiSubjectOptions options;
    options.endpoint = parse_endpoint("https://" + host + ":" + port.line, "words");
    options.request_timeout_s = 10;
    return std::make_unique<OpenAiSubject>(std::move(options));
  };
  const auto refusal_at = [&](const std::string& host) -> std::string {
    try {
      subject_at(host)->start({});
    } catch (const ResourceError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(refusal_at("localhost"), HasSubstr("certificate verify failed"));
  ::setenv("SSL_CERT_FILE", certificate.c_str(), 1);
  EXPECT_THAT(refusal_at("127.0.0.1"), HasSubstr("certificate verify failed"));  // another name
  const auto subject = subject_at("localhost");
  subject->start({});
  std::vector<WorkloadRequest> load = {{0, {1, 2, 3}, 4}, {1, {4, 5}, 2}};
  const auto result = subject->run({Phase::kMeasure, 1, load}, {});
  ::unsetenv("SSL_CERT_FILE");
  EXPECT_FALSE(result.requests[0].error);
  EXPECT_EQ(result.requests[0].num_output_tokens, 4);
  EXPECT_EQ(result.requests[1].text, "word word ");
  server.stop(2);
  std::filesystem::remove(certificate);
  std::filesystem::remove(key);
}

TEST(OpenAiStart, says_why_it_can_not) {
  OpenAiSubjectOptions options;
  options.endpoint = parse_endpoint("http://127.0.0.1:1", "nobody");
  EXPECT_THROW(OpenAiSubject(options).start({}), ResourceError);
  options.endpoint = parse_endpoint("http://no-such-host.invalid:80", "nowhere");
  EXPECT_THROW(OpenAiSubject(options).start({}), ResourceError);
  options.endpoint = parse_endpoint("http://127.0.0.1:1/v1/chat/completions", "textless");
  EXPECT_THROW(OpenAiSubject(options).start({}), InputError);
  Server server([](Server::Socket& socket, const json&) {
    return Server::whole(socket, 401, R"({"error": {"message": "wrong key"}})");
  });
  options.endpoint = parse_endpoint(server.url(), "locked");
  try {
    OpenAiSubject(options).start({});
    FAIL();
  } catch (const ResourceError& error) {
    EXPECT_THAT(error.what(), HasSubstr("HTTP status 401: wrong key"));
  }
}

}  // namespace
}  // namespace iol::bench
