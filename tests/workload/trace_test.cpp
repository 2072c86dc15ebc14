// Every form of a trace, and what is refused of each.
#include "workload/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>

#include "base/error.h"
#include "tests/temporary_folder.h"
#include "workload/trace_time.h"

namespace iol {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::int64_t kS = 1'000'000'000;
// 2026-07-01, after every time in these tests that isn't meant to be in the future.
constexpr TraceOptions kOptions{.latest_ns = 1'782'864'000 * kS};

struct Read {
  std::vector<std::int64_t> times_ns, inputs, outputs, failed, blocks;
  TraceForm form = TraceForm::kAzure;
  std::int64_t skipped = 0;
};

Read read_all(const std::string& text, const std::string& name = "trace") {
  const TemporaryFolder folder;
  folder.write(name, text);
  const auto trace = open_trace(folder.path() / name, kOptions);
  Read read;
  read.form = trace->form();
  TraceRequest request;
  while (trace->next(request)) {
    if (request.t_ns) read.times_ns.push_back(*request.t_ns);
    read.inputs.push_back(request.input_tokens);
    read.outputs.push_back(request.output_tokens);
    read.failed.push_back(request.failed ? 1 : 0);
    read.blocks.insert(read.blocks.end(), request.block_ids.begin(), request.block_ids.end());
  }
  read.skipped = trace->skipped();
  return read;
}

std::string refusal(const std::string& text) {
  try {
    static_cast<void>(read_all(text));
  } catch (const InputError& error) {
    std::string message = error.what();
    EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 0) << message;
    return message;
  }
  return "accepted";
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(::deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(::deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  ::deflateEnd(&stream);
  return packed;
}

const std::string kAzure =
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2023-11-16 18:15:46.6805900,374,44\r\n"
    "2023-11-16 18:15:50.9951690,396,109\r\n";
const std::string kMooncake =
    "{\"timestamp\": 0, \"input_length\": 1000, \"output_length\": 5, \"hash_ids\": [1, 2]}\n"
    "{\"timestamp\": 27, \"input_length\": 600, \"output_length\": 7, \"hash_ids\": [1, 3]}\n";
const std::string kLog =
    "{\"timestamp\": \"2025-01-01T00:00:00Z\", \"request\": {\"messages\": [{}]}, \"response\": "
    "{\"usage\": {\"prompt_tokens\": 12, \"completion_tokens\": 34}}}\n";

TEST(Time, of_every_form_is_read) {
  EXPECT_EQ(parse_time_ns("1970-01-01 00:00:00"), 0);
  EXPECT_EQ(parse_time_ns("2023-11-16 18:15:46.6805900"), 1'700'158'546 * kS + 680'590'000);
  EXPECT_EQ(parse_time_ns("2024-05-10T00:00:00.009930+00:00"), 1'715'299'200 * kS + 9'930'000);
  EXPECT_EQ(parse_time_ns("2024-05-10T02:00:00+02:00"), 1'715'299'200 * kS);
  EXPECT_EQ(parse_time_ns("2024-05-09T22:30:00-0130"), 1'715'299'200 * kS);
  EXPECT_EQ(parse_time_ns("2024-02-29T00:00:00Z"), 1'709'164'800 * kS);
}

TEST(Time, of_no_calendar_is_refused) {
  for (const char* text :
       {"", "2023-11-16", "2023-02-30 00:00:00", "2023-13-01 00:00:00", "2023-11-16 24:00:00",
        "2023-11-16 18:15:46.", "2023-11-16 18:15:46 Z", "2023-11-16 18:15:46+99:00",
        "16.11.2023 18:15:46", "3000-01-01 00:00:00", "2023-11-16 18:15:46Zx"}) {
    EXPECT_FALSE(parse_time_ns(text)) << text;
  }
}

TEST(Trace, azure) {
  const Read read = read_all(kAzure);
  EXPECT_EQ(read.form, TraceForm::kAzure);
  EXPECT_THAT(read.inputs, ElementsAre(374, 396));
  EXPECT_THAT(read.outputs, ElementsAre(44, 109));
  EXPECT_EQ(read.times_ns[1] - read.times_ns[0], 4'314'579'000);
}

TEST(Trace, burstgpt_by_column_name_in_both_versions) {
  const Read old = read_all(
      "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
      "5,ChatGPT,472,18,490,Conversation log\n"
      "45.5,GPT-4,1087,0,1087,\"API log, failed\"\n");
  EXPECT_EQ(old.form, TraceForm::kBurstGpt);
  EXPECT_THAT(old.times_ns, ElementsAre(5 * kS, 45'500'000'000));
  EXPECT_THAT(old.failed, ElementsAre(0, 1)) << "no response is a failure";
  const Read newer = read_all(
      "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log "
      "Type\n"
      "5,7,1.5,ChatGPT,472,18,490,Conversation log\n");
  EXPECT_THAT(newer.inputs, ElementsAre(472));
  EXPECT_THAT(newer.outputs, ElementsAre(18));
}

TEST(Trace, mooncake) {
  const Read read = read_all(kMooncake);
  EXPECT_EQ(read.form, TraceForm::kMooncake);
  EXPECT_THAT(read.times_ns, ElementsAre(0, 27'000'000));
  EXPECT_THAT(read.inputs, ElementsAre(1000, 600));
  EXPECT_THAT(read.blocks, ElementsAre(1, 2, 1, 3));
}

TEST(Trace, sharegpt_drops_fewer_than_two_turns) {
  const Read read = read_all(
      "[{\"id\": \"a\", \"conversations\": [{\"from\": \"human\", \"value\": \"12345678\"},\n"
      "  {\"from\": \"gpt\", \"value\": \"a } in \\\" quotes\"}, {\"from\": \"human\", \"value\": "
      "\"x\"}]},\n"
      " {\"conversations\": [{\"value\": \"alone\"}]},\n"
      " {\"conversations\": [{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"assistant\", "
      "\"content\": \"\"}]}]\n");
  EXPECT_EQ(read.form, TraceForm::kShareGpt);
  EXPECT_THAT(read.inputs, ElementsAre(2, 1));
  EXPECT_THAT(read.outputs, ElementsAre(4, 0));
  EXPECT_THAT(read.failed, ElementsAre(0, 1));
  EXPECT_EQ(read.skipped, 1);
  EXPECT_TRUE(read.times_ns.empty());
}

TEST(Trace, request_logs_in_every_unit_of_time) {
  const std::string usage =
      ", \"response\": {\"usage\": {\"prompt_tokens\": 1, \"completion_tokens\": 2}}}\n";
  const Read read = read_all(
      kLog + "{\"timestamp\": 1735689601" + usage + "{\"timestamp\": 1735689602500" + usage +
      "{\"timestamp\": 1735689603.25" + usage + "{\"timestamp\": 1735689604000000" + usage +
      "{\"timestamp\": 1735689605000000000, \"response\": null}\n"
      "{\"timestamp\": 1735689606, \"response\": {\"error\": {}}}\n");
  EXPECT_EQ(read.form, TraceForm::kRequestLog);
  const std::int64_t start = 1'735'689'600 * kS;
  EXPECT_THAT(read.times_ns,
              ElementsAre(start, start + kS, start + 2'500'000'000, start + 3'250'000'000,
                          start + 4 * kS, start + 5 * kS, start + 6 * kS));
  EXPECT_THAT(read.failed, ElementsAre(0, 0, 0, 0, 0, 1, 1));
  EXPECT_EQ(read.inputs[0], 12);
  EXPECT_EQ(read.outputs[0], 34);
}

TEST(Trace, gzip_is_told_by_its_bytes) {
  for (const std::string& text : {kAzure, kMooncake, kLog}) {
    EXPECT_EQ(read_all(gzip(text)).inputs, read_all(text).inputs);
  }
  EXPECT_THAT(read_all(gzip(kAzure) + gzip("2023-11-16 18:15:51.0,1,2\n")).inputs,
              ElementsAre(374, 396, 1))
      << "files that were packed one by one and joined";
}

TEST(Trace, a_byte_order_mark_and_blank_lines_are_skipped) {
  EXPECT_EQ(read_all("\xEF\xBB\xBF" + kAzure + "\r\n\r\n").inputs.size(), 2U);
  EXPECT_EQ(read_all("\n\n" + kMooncake + "\n \n").inputs.size(), 2U);
}

TEST(Trace, longer_than_every_buffer_is_read_whole) {
  std::string text = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  constexpr std::int64_t kLines = 150'000;  // 5 MB, blocks are 1 MB
  for (std::int64_t i = 0; i < kLines; ++i)
    text += "2023-11-16 18:15:46.6805900," + std::to_string(i) + ",7\n";
  const Read read = read_all(text);
  ASSERT_EQ(read.inputs.size(), static_cast<std::size_t>(kLines));
  for (std::int64_t i = 0; i < kLines; ++i) ASSERT_EQ(read.inputs[static_cast<std::size_t>(i)], i);
}

TEST(Trace, conversations_longer_than_every_buffer_are_read_whole) {
  std::string text = "[";
  for (int i = 1; i <= 60; ++i) {
    text += (i > 1 ? "," : "") + std::string("{\"conversations\":[{\"value\":\"") +
            std::string(static_cast<std::size_t>(i) * 4000, '\\')
                .append(static_cast<std::size_t>(i) * 4000 % 2, '\\') +
            "\"},{\"value\":\"{[" + std::string(100, 'y') + "\"}]}";
  }
  const Read read = read_all(text + "]");
  ASSERT_EQ(read.inputs.size(), 60U);
  for (std::size_t i = 0; i < 60; ++i) {
    EXPECT_EQ(read.inputs[i], static_cast<std::int64_t>(i + 1) * 500);  // an escape is one byte
    EXPECT_EQ(read.outputs[i], 26);
  }
}

struct Bad {
  const char* name;
  std::string text;
  const char* message;
};

class BadTrace : public testing::TestWithParam<Bad> {};

TEST_P(BadTrace, is_refused_in_one_line) {
  EXPECT_THAT(refusal(GetParam().text), HasSubstr(GetParam().message));
}

const std::string kHeader = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
const std::string kTime = "2023-11-16 18:15:46.68";

INSTANTIATE_TEST_SUITE_P(
    Trace, BadTrace,
    testing::Values(
        Bad{"empty", "", "empty; there is no request in it"},
        Bad{"blank", " \n\n ", "empty; there is no request in it"},
        Bad{"unknown_columns", "a,b,c\n1,2,3\n", "trace:1: no known trace: begins with 'a,b,c'"},
        Bad{"binary", std::string("\x7f\x45\x4c\x46\x01\x00\x02", 7), "no known trace"},
        Bad{"unknown_names", "{\"a\": 1, \"b\": 2}\n", "no known trace: has a, b"},
        Bad{"negative_length", kHeader + kTime + ",-5,3\n", "trace:2: '-5' is no number of tokens"},
        Bad{"nan_length", kHeader + kTime + ",nan,3\n", "trace:2: 'nan' is no number of tokens"},
        Bad{"infinite_length", kHeader + kTime + ",inf,3\n", "'inf' is no number of tokens"},
        Bad{"half_a_token", kHeader + kTime + ",1.5,3\n", "'1.5' is no number of tokens"},
        Bad{"huge_length", kHeader + kTime + ",99999999999,3\n", "is no number of tokens"},
        Bad{"no_length", kHeader + kTime + ",,3\n", "'' is no number of tokens"},
        Bad{"cut_off_line", kHeader + kTime + ",5\n", "trace:2: 2 fields where the header has 3"},
        Bad{"second_header", kHeader + kTime + ",5,5\n" + kHeader,
            "trace:3: 'TIMESTAMP' is no time"},
        Bad{"bad_time", kHeader + "yesterday,5,5\n", "trace:2: 'yesterday' is no time"},
        Bad{"future", kHeader + "2026-07-02 00:00:00,5,5\n", "trace:2: its time is in the future"},
        Bad{"unsorted", kHeader + kTime + ",5,5\n2023-11-16 18:15:45,5,5\n",
            "trace:3: its time is before the one above; sort the trace"},
        Bad{"burst_time", "Timestamp,Request tokens,Response tokens\n-4,1,1\n",
            "'-4' is no time in seconds"},
        Bad{"burst_nan_time", "Timestamp,Request tokens,Response tokens\nnan,1,1\n",
            "'nan' is no time in seconds"},
        Bad{"mixed_up", kMooncake + kAzure, "trace:3: not one JSON object"},
        Bad{"mixed_json", kMooncake + kLog, "trace:3: 'timestamp' is no time in milliseconds"},
        Bad{"mixed_log", kLog + kMooncake, "trace:2: no 'response'"},
        Bad{"cut_off_json", kMooncake + "{\"timestamp\": 3, \"inp", "trace:3: not one JSON object"},
        Bad{"two_objects",
            "{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1}\n"
            "{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1} {}\n",
            "not one JSON object"},
        Bad{"json_nan",
            "{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1}\n"
            "{\"timestamp\": 0, \"input_length\": NaN, \"output_length\": 1}\n",
            "trace:2: not one JSON object; the line is cut off or damaged, or has NaN"},
        Bad{"json_negative", "{\"timestamp\": 0, \"input_length\": -1, \"output_length\": 1}\n",
            "'input_length' is no number of tokens"},
        Bad{"json_text", "{\"timestamp\": 0, \"input_length\": \"1\", \"output_length\": 1}\n",
            "'input_length' is no number of tokens"},
        Bad{"bad_hash_ids",
            "{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1, \"hash_ids\": "
            "[\"a\"]}\n",
            "'hash_ids' holds something else"},
        Bad{"no_usage", "{\"timestamp\": 1735689600, \"response\": {\"id\": 1}}\n",
            "no response.usage"},
        Bad{"future_log", "{\"timestamp\": 1900000000, \"response\": null}\n", "in the future"},
        Bad{"array_of_numbers", "[1, 2]", "trace:1: not an array of JSON objects"},
        Bad{"array_cut_off", "[{\"conversations\": [{\"value\": \"a", "the JSON array is cut off"},
        Bad{"array_not_closed", "[{\"conversations\": []}", "the JSON array is cut off"},
        Bad{"no_conversations", "[{\"a\": 1}]", "no 'conversations'"},
        Bad{"turn_without_text", "[{\"conversations\": [{\"value\": 3}, {}]}]",
            "neither 'value' nor 'content'"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(BadTraceFile, missing_or_a_folder) {
  EXPECT_THAT([] { static_cast<void>(open_trace("/no/such/trace.csv", kOptions)); },
              testing::ThrowsMessage<InputError>(HasSubstr("/no/such/trace.csv: no such file")));
  EXPECT_THAT([] { static_cast<void>(open_trace("/tmp", kOptions)); },
              testing::ThrowsMessage<InputError>(HasSubstr("/tmp: not a regular file")));
}

TEST(BadTraceFile, damaged_gzip) {
  std::string long_text = kAzure;
  for (int i = 0; i < 20'000; ++i)
    long_text += "2023-11-16 18:16:00.0," + std::to_string(i * 7919 % 4096) + ",9\n";
  std::string packed = gzip(long_text);
  EXPECT_THAT(refusal(packed.substr(0, packed.size() / 2)), HasSubstr("the gzip file is cut off"));
  packed[packed.size() - 6] ^= 0x55;  // the check sum
  EXPECT_THAT(refusal(packed), HasSubstr("can't be read"));
}

TEST(BadTraceFile, one_endless_line_takes_no_memory_without_end) {
  EXPECT_THAT(refusal("{\"timestamp\": \"" + std::string(66 << 20, 'x')),
              HasSubstr("a line or object of more than 64 MiB"));
}

}  // namespace
}  // namespace iol
