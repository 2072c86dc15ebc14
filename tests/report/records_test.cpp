#include "report/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/temporary_folder.h"

namespace iol::report {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

Json record(const char* type, Json fields = Json::object()) {
  fields["record_type"] = type;
  fields["schema_version"] = 1;
  fields["run_id"] = "r1";
  return fields;
}

Json request(Json metadata = Json::object(), Json metrics = Json::object()) {
  Json all = {{"subject", "a"},      {"scenario", "latency"}, {"concurrency", 1},
              {"repetition", 0},     {"phase", "measure"},    {"intended_start_ns", 1'000'000},
              {"end_ns", 11'000'000}};
  if (metadata.is_object()) all.update(metadata);
  Json measured = {{"time_to_first_token", {{"value", 2.0}, {"unit", "ms"}}},
                   {"output_sequence_length", {{"value", 5}, {"unit", "tokens"}}}};
  if (metrics.is_object()) measured.update(metrics);
  return record("request", {{"metadata", all}, {"metrics", measured}, {"error", nullptr}});
}

const Json kEnvironment = record("environment", {{"command", "iol bench demo"}});
const Json kSubject = record("subject", {{"name", "a"}, {"kind", "iol"}});

Records read_content(const std::string& text) {
  const TemporaryFolder folder;
  folder.write("records.jsonl", text);
  return read_records(folder.path());
}

Records read(const std::vector<Json>& records) {
  std::string text;
  for (const Json& json : records) text += json.dump() + "\n";
  return read_content(text);
}

/// The one line that reading this fails with.
std::string message_of(const std::string& text) {
  try {
    read_content(text);
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

std::string message_of_records(const std::vector<Json>& records) {
  std::string text;
  for (const Json& json : records) text += json.dump() + "\n";
  return message_of(text);
}

TEST(ReadRecords, reads_a_request_with_its_times_and_units) {
  const Records records = read(
      {kEnvironment, kSubject,
       request({{"request_id", "7"}}, {{"time_to_first_token", {{"value", 2000}, {"unit", "us"}}},
                                       {"request_latency", {{"value", 0.010}, {"unit", "s"}}},
                                       {"itl", {{"value", {1.5, 2.5}}, {"unit", "ms"}}}})});
  ASSERT_EQ(records.requests.size(), 1u);
  const RequestRecord& read_back = records.requests.front();
  EXPECT_DOUBLE_EQ(*read_back.ttft_ms, 2.0);
  EXPECT_DOUBLE_EQ(*read_back.e2e_ms, 10.0);
  EXPECT_DOUBLE_EQ(*read_back.tpot_ms(), 2.0);  // (10 - 2) / (5 - 1)
  EXPECT_THAT(read_back.itl_ms, ElementsAre(1.5, 2.5));
  EXPECT_TRUE(records.notes.empty());
}

TEST(ReadRecords, takes_the_latency_from_the_time_stamps_when_it_is_absent) {
  EXPECT_DOUBLE_EQ(*read({kEnvironment, kSubject, request()}).requests.front().e2e_ms, 10.0);
}

TEST(ReadRecords, has_no_time_per_token_for_one_token) {
  const Records records =
      read({kEnvironment, kSubject,
            request({}, {{"output_sequence_length", {{"value", 1}, {"unit", "tokens"}}},
                         {"inter_token_latency", {{"value", 9}, {"unit", "ms"}}}})});
  EXPECT_FALSE(records.requests.front().tpot_ms().has_value());
}

TEST(ReadRecords, ignores_unknown_fields_and_record_types) {
  Json extended = request({{"colour", "blue"}}, {{"new_metric", {{"value", 1}, {"unit", "x"}}}});
  extended["later"] = {1, 2, 3};
  const Records records =
      read({kEnvironment, kSubject, extended, record("from_the_future"), record("summary")});
  EXPECT_EQ(records.requests.size(), 1u);
}

TEST(ReadRecords, leaves_out_the_canaries_and_runs_of_the_warm_up) {
  const Json key = {{"subject", "a"},           {"scenario", "latency"}, {"concurrency", 1},
                    {"repetition", 0},          {"phase", "warmup"},     {"position", "after"},
                    {"read_bytes_per_s", 5e10}, {"start_ns", 1},         {"end_ns", 2}};
  const Records records =
      read({kEnvironment, kSubject, request(), record("canary", key), record("run", key)});
  EXPECT_TRUE(records.canaries.empty());
  EXPECT_TRUE(records.runs.empty());
}

TEST(ReadRecords, skips_and_notes_a_last_line_that_was_cut_off) {
  const std::string whole =
      kEnvironment.dump() + "\n" + kSubject.dump() + "\n" + request().dump() + "\n";
  const std::string last = request().dump();
  for (std::size_t length = 1; length < last.size(); length += 7) {
    const Records records = read_content(whole + last.substr(0, length));
    EXPECT_EQ(records.requests.size(), 1u);
    ASSERT_EQ(records.notes.size(), 1u);
    EXPECT_THAT(records.notes.front(), HasSubstr("line 4"));
  }
  EXPECT_EQ(read_content(whole + last).requests.size(),
            2u);  // whole, only the line break is missing
}

TEST(ReadRecords, refuses_a_broken_line_in_the_middle_and_names_it) {
  const std::string text = kEnvironment.dump() + "\n{\"record_type\": \n" + kSubject.dump() + "\n";
  EXPECT_THAT(message_of(text), HasSubstr("records.jsonl:2: not a JSON record"));
}

TEST(ReadRecords, refuses_text_that_is_not_json_numbers_or_utf8) {
  const std::string before = kEnvironment.dump() + "\n" + kSubject.dump() + "\n";
  for (const char* line : {"NaN\n", "{\"record_type\": NaN}\n", "{\"a\": 1e999}\n", "\xff\xfe\n",
                           "{\"record_type\": \"\xc3\x28\"}\n", "<html>\n"}) {
    EXPECT_THAT(message_of(before + line), HasSubstr("records.jsonl:3:")) << line;
  }
  for (const char* line : {"[]\n", "3\n", "null\n", "\"text\"\n"}) {
    EXPECT_THAT(message_of(before + line), HasSubstr("must be a JSON object")) << line;
  }
}

TEST(ReadRecords, refuses_a_missing_folder_an_empty_one_and_an_empty_file) {
  const TemporaryFolder folder;
  const auto message = [](const std::filesystem::path& path) -> std::string {
    try {
      read_records(path);
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(message(folder.path() / "none"), HasSubstr("no such results folder"));
  EXPECT_THAT(message(folder.path()), HasSubstr("no records.jsonl here"));
  folder.write("records.jsonl", "");
  EXPECT_THAT(message(folder.path()), HasSubstr("no records"));
  folder.write("records.jsonl", "\n\n");
  EXPECT_THAT(message(folder.path()), HasSubstr("no records"));
}

TEST(ReadRecords, refuses_the_records_of_two_runs_in_one_file) {
  Json other = request();
  other["run_id"] = "r2";
  EXPECT_THAT(message_of_records({kEnvironment, kSubject, other}),
              AllOf(HasSubstr("records.jsonl:3:"), HasSubstr("'r2'"), HasSubstr("'r1'")));
  EXPECT_THAT(message_of_records({kEnvironment, kEnvironment}),
              HasSubstr("a second environment record"));
  EXPECT_THAT(message_of_records({kEnvironment, kSubject, kSubject}), HasSubstr("described twice"));
}

TEST(ReadRecords, refuses_a_newer_schema_and_a_missing_start) {
  Json newer = kEnvironment;
  newer["schema_version"] = 2;
  EXPECT_THAT(message_of_records({newer}), HasSubstr("schema version 2"));
  EXPECT_THAT(message_of_records({kSubject, request()}), HasSubstr("no environment record"));
  EXPECT_THAT(message_of_records({kEnvironment, request()}), HasSubstr("no subject record"));
}

TEST(ReadRecords, refuses_wrong_types_and_names_file_line_and_field) {
  const Json wrong_metric = {{"value", "nan"}, {"unit", "ms"}};
  const std::vector<std::pair<Json, const char*>> cases = {
      {request({{"repetition", "one"}}), "request.metadata.repetition must be an integer"},
      {request({{"repetition", 1.5}}), "request.metadata.repetition must be an integer"},
      {request({{"subject", 3}}), "request.metadata.subject must be a string"},
      {request({{"phase", "later"}}),
       "request.metadata.phase must be 'warmup', 'probe' or 'measure'"},
      {request({{"concurrency", -1}}),
       "request.metadata.concurrency must be at least 1, or 0 of an open loop"},
      {record("step", {{"subject", "a"}, {"t_ns", 1}}), "step.duration_ns"},
      {record("sweep", {{"subject", "a"}, {"probes", 3}}), "sweep.probes must be an array"},
      {request({{"end_ns", nullptr}}), "request.metadata.end_ns must be an integer"},
      {request({{"end_ns", 18446744073709551615U}}), "end_ns must be an integer below 2^63"},
      {request({{"end_ns", 0}}), "end_ns must be no earlier than intended_start_ns"},
      {request({}, {{"time_to_first_token", wrong_metric}}), "value must be a finite number"},
      {request({}, {{"time_to_first_token", 5}}), "time_to_first_token must be an object"},
      {request({}, {{"time_to_first_token", {{"value", -1}, {"unit", "ms"}}}}), "at least 0"},
      {request({}, {{"time_to_first_token", {{"value", 1}, {"unit", "days"}}}}), "unit must be"},
      {request({}, {{"itl", {{"value", {1, "x"}}, {"unit", "ms"}}}}), "an array of numbers"},
      {request({}, {{"output_sequence_length", nullptr}}), "output_sequence_length must be"},
      {record("request", {{"metadata", Json::array()}}), "request.metadata must be an object"},
      {record("device_sample", {{"t_ns", "now"}}), "device_sample.t_ns must be an integer"},
      {record("canary", {{"subject", "a"}, {"position", "near"}}), "canary.position must be"},
      {record("subject", {{"name", Json::object()}}), "subject.name must be a string"},
      {record("quality", {{"perplexity", true}}), "quality.perplexity must be a finite number"},
  };
  for (const auto& [bad, expected] : cases) {
    const std::string message = message_of_records({kEnvironment, kSubject, bad});
    EXPECT_THAT(message, AllOf(HasSubstr("records.jsonl:3: "), HasSubstr(expected)));
  }
}

TEST(ReadRecords, keeps_a_failed_request_without_any_metric) {
  Json failed = request();
  failed["error"] = {{"type", "Timeout"}, {"message", "no answer in 30 s"}};
  failed.erase("metrics");
  failed["metadata"].erase("end_ns");
  const Records records = read({kEnvironment, kSubject, failed});
  ASSERT_EQ(records.requests.size(), 1u);
  EXPECT_FALSE(records.requests.front().succeeded());
  EXPECT_EQ(records.requests.front().error->message, "no answer in 30 s");
}

TEST(ReadRecords, survives_deep_nesting) {
  const std::string deep(100'000, '[');
  EXPECT_THAT(message_of(kEnvironment.dump() + "\n" + deep + "\n"), HasSubstr("records.jsonl:2:"));
}

}  // namespace
}  // namespace iol::report
