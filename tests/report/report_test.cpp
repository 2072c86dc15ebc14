#include "report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <regex>

#include "base/error.h"
#include "report/html.h"
#include "report/markdown.h"
#include "tests/report/sample_records.h"
#include "tests/temporary_folder.h"

namespace iol::report {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

struct Written {
  std::string markdown;
  std::string html;
  Json summary;
};

Written write_and_read(const sample::SampleRun& run) {
  const TemporaryFolder folder;
  run.write(folder.path());
  write_report(folder.path(), folder.path() / "out");
  return {read_text(folder.path() / "out/report.md"), read_text(folder.path() / "out/report.html"),
          Json::parse(read_text(folder.path() / "out/summary.json"))};
}

/// Headings, and the header row of every table, in order.
std::vector<std::string> structure_of(const std::string& markdown) {
  std::vector<std::string> result;
  std::istringstream lines(markdown);
  std::string previous;
  for (std::string line; std::getline(lines, line); previous = line) {
    if (line.starts_with("#")) result.push_back(line);
    if (line.starts_with("| -")) result.push_back(previous);
  }
  return result;
}

TEST(WriteReport, names_what_was_measured_a_gpu_or_the_processor) {
  sample::SampleRun run({});
  const std::string on_cpu = write_and_read(run).markdown;
  EXPECT_THAT(on_cpu, HasSubstr("# books-16m on Example CPU 9000\n"));
  EXPECT_THAT(on_cpu, HasSubstr("books-16m · Example CPU 9000 · 2 threads · "));
  run.records().front()["device"] = {{"name", "cuda:0"}, {"gpu", "Example GPU 100"}};
  const std::string on_gpu = write_and_read(run).markdown;
  EXPECT_THAT(on_gpu, HasSubstr("# books-16m on Example GPU 100\n"));
  EXPECT_THAT(on_gpu, HasSubstr("books-16m · Example GPU 100 · 100 tokens in"));
}

// IOL_SAMPLE_REPORT=FOLDER keeps the page, to be looked at in a browser.
TEST(WriteReport, writes_three_whole_files_and_nothing_else) {
  const char* where = std::getenv("IOL_SAMPLE_REPORT");
  const TemporaryFolder temporary;
  const std::filesystem::path folder = where != nullptr ? where : temporary.path();
  sample::SampleRun({}).write(folder);
  write_report(folder, folder);
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename());
  }
  EXPECT_THAT(names, ::testing::UnorderedElementsAre("records.jsonl", "report.html", "report.md",
                                                     "summary.json"));
  EXPECT_THAT(read_text(folder / "report.html"), ::testing::EndsWith("</html>\n"));
}

TEST(WriteReport, opens_with_the_answer_then_how_sure_then_detail) {
  const Written written = write_and_read(sample::SampleRun({}));
  EXPECT_THAT(
      structure_of(written.markdown),
      ElementsAre(
          "# books-16m on Example CPU 9000",
          "| Engine | Request latency, one stream, median | Tokens/s, one stream | Tokens/s, 64 "
          "streams | Memory, peak | Of the machine's limit, one stream | Quality, perplexity |",
          "## How sure are we?",
          "| Subject | Scenario | Repetitions | Requests | Failed | Tokens/s, mean ± std | "
          "Variation, std / mean | A/A, ratio | Canary, median | Marked, runs |",
          "| Not measured | Why |", "## Details",
          "| Streams, at once | PyTorch eager, tokens/s | PyTorch compiled, tokens/s | iol, "
          "tokens/s |",
          "| Subject, scenario | First token, ttft | Per token, tpot | Gap between tokens, itl | "
          "Whole request, e2e |",
          "| Subject, scenario | Memory, peak | Memory, reserved |",
          "| Subject | Perplexity | KL divergence, nats | Same top token | Text | Tokens | "
          "Reference |",
          "## Comparisons",
          "| Scenario | Metric | Subject | Against | Gain, median | Interval, of the gain | Pairs "
          "| "
          "Marked, pairs |",
          "## Records",
          "| Subject, scenario | Requests | Repetitions | Lines, first to last | Picked out by |",
          "## Settings", "| Setting | PyTorch eager | PyTorch compiled | iol |", "## Environment",
          "| Item | Value |", "## Glossary", "| Term | Meaning |", "## Regenerate this report"));
  const std::regex answer(
      "\nFor one stream, iol is \\*\\*7\\.\\d\\d× as fast\\*\\* as PyTorch eager "
      "\\(95.*% interval 7\\.\\d\\d–7\\.\\d\\d\\) and \\*\\*2\\.\\d\\d× as fast\\*\\* as PyTorch "
      "compiled \\(2\\.\\d\\d–\\d\\.\\d\\d\\): a request takes 16\\d.*ms instead of "
      "1\\.2\\d.*s\\.");
  EXPECT_TRUE(std::regex_search(written.markdown, answer)) << written.markdown.substr(0, 400);
}

TEST(WriteReport, every_row_of_a_table_has_as_many_cells_as_its_header) {
  const Written written = write_and_read(sample::SampleRun({}));
  std::istringstream lines(written.markdown);
  std::ptrdiff_t columns = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("|")) {
      columns = 0;
      continue;
    }
    const auto bars = std::count(line.begin(), line.end(), '|');
    if (columns == 0) columns = bars;
    EXPECT_EQ(bars, columns) << line;
  }
}

TEST(WriteReport, is_the_same_every_time) {
  const Written first = write_and_read(sample::SampleRun({}));
  const Written second = write_and_read(sample::SampleRun({}));
  EXPECT_EQ(first.html.size(), second.html.size());
  EXPECT_EQ(first.summary, second.summary);
}

TEST(WriteReport, the_page_needs_no_network_and_holds_its_charts) {
  const std::string html = write_and_read(sample::SampleRun({})).html;
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
  EXPECT_THAT(html, HasSubstr("Chart.js v"));
  // Only what would make a browser load something; Chart.js names its home page in a comment.
  const std::regex loads("<(link|img|iframe|object|embed)\\b|<script[^>]*\\bsrc=|url\\(|@import");
  EXPECT_FALSE(std::regex_search(html, loads));
  for (const char* chart : {"throughput", "tpot", "latency", "ttft", "itl", "memory"}) {
    EXPECT_THAT(html, HasSubstr("<canvas id=\"" + std::string(chart) + "\" role=\"img\""));
  }
}

TEST(WriteReport, the_data_of_the_charts_is_json) {
  const std::string html = write_and_read(sample::SampleRun({})).html;
  const std::string open = "id=\"chart-data\">";
  const auto begin = html.find(open) + open.size();
  const Json data = Json::parse(html.substr(begin, html.find("</script>", begin) - begin));
  ASSERT_TRUE(data.contains("throughput"));
  EXPECT_EQ(data["throughput"]["categories"], Json({"1", "4", "16", "64"}));
  EXPECT_EQ(data["throughput"]["series"].size(), 3u);
  for (const Json& series : data["memory"]["series"]) EXPECT_LE(series["points"].size(), 240u);
}

TEST(WriteReport, draws_the_steps_of_the_run_with_the_most_streams) {
  sample::SampleRun run({});
  for (const auto& [concurrency, repetition, running] :
       {std::tuple(1, 0, 1), std::tuple(4, 1, 9), std::tuple(4, 0, 2), std::tuple(4, 0, 3)}) {
    const auto t_ns = 1'000'000'000 + 500'000'000 * std::int64_t{running};
    run.records().push_back({{"record_type", "step"},
                             {"schema_version", 1},
                             {"run_id", run.records().front()["run_id"]},
                             {"subject", "iol"},
                             {"scenario", "throughput"},
                             {"concurrency", concurrency},
                             {"repetition", repetition},
                             {"t_ns", t_ns},
                             {"duration_ns", 2'500'000},
                             {"host_ns", 0},
                             {"prefill_tokens", 0},
                             {"decode_tokens", running},
                             {"running", running},
                             {"waiting", 0},
                             {"blocks_used", 1}});
  }
  const std::string html = write_and_read(run).html;
  const std::string open = "id=\"chart-data\">";
  const auto begin = html.find(open) + open.size();
  const Json data = Json::parse(html.substr(begin, html.find("</script>", begin) - begin));
  ASSERT_EQ(data.at("steps-running").at("series").size(), 1U);
  EXPECT_EQ(data["steps-running"]["series"][0]["points"], Json::parse("[[0.0, 2.0], [0.5, 3.0]]"));
  EXPECT_EQ(data.at("steps-duration")["series"][0]["points"],
            Json::parse("[[0.0, 2.5], [0.5, 2.5]]"));
}

TEST(WriteReport, text_of_a_hostile_record_stays_text) {
  const std::string attack =
      "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`|\n# x";
  sample::SampleOptions options;
  options.model_name = attack;
  for (auto& subject : options.subjects) {
    subject.name += attack;
    subject.label += attack;
  }
  sample::SampleRun run(options);
  run.records().front()["command"] = attack + "```";
  run.records().front()["machine"][attack] = attack;
  run.records().front()["not_measured"][0]["why"] = attack;
  for (Json& record : run.records()) {
    if (record.at("record_type") != "request") continue;
    record["error"] = {{"type", attack}, {"message", attack}};
    break;
  }
  const Written written = write_and_read(run);
  EXPECT_THAT(written.html, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(written.html, Not(HasSubstr("<img")));
  EXPECT_THAT(written.html, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;"));
  // Three scripts: the data, the chart library and the page's own.
  const std::regex script("<script[ >]");
  EXPECT_EQ(
      std::distance(std::sregex_iterator(written.html.begin(), written.html.end(), script), {}), 3);
  const std::string outside_code = written.markdown.substr(0, written.markdown.find("The run:"));
  EXPECT_THAT(outside_code, Not(HasSubstr("<script")));
  EXPECT_THAT(outside_code, Not(HasSubstr("\n# x")));
  EXPECT_THAT(written.markdown, HasSubstr("\n````\n"));  // a fence that the command can't close
}

TEST(EmbedJson, can_not_end_its_element) {
  const std::string text = embed_json({{"</script><!--", "\u2028&"}});
  EXPECT_EQ(text.find_first_of("<>&"), std::string::npos);
  EXPECT_EQ(Json::parse(text), Json({{"</script><!--", "\u2028&"}}));
}

TEST(WriteReport, says_when_something_is_wrong_with_the_run) {
  sample::SampleRun run({});
  int failed = 0;
  for (Json& record : run.records()) {
    const std::string type = record.at("record_type");
    if (type == "canary" && record.at("position") == "after" && record.at("repetition") == 0) {
      record["read_bytes_per_s"] = 40e9;
    }
    if (type == "run") record["others_processor_s"] = 5.0;
    if (type != "request" || record.at("metadata").at("phase") != "measure") continue;
    if (record.at("metadata").at("subject") == "iol") {
      record["metadata"]["requested_output_tokens"] = 300;
    } else if (failed < 3) {
      ++failed;
      record["error"] = {{"type", "Timeout"}, {"message", "no answer in 30 s"}};
    }
  }
  const std::string markdown = write_and_read(run).markdown;
  EXPECT_THAT(markdown, HasSubstr("3 of 1,164 requests of PyTorch eager failed; the first: "
                                  "Timeout: no answer in 30 s"));
  EXPECT_THAT(markdown, HasSubstr("It moved by more than 10 % during 15 of 90 runs"));
  EXPECT_THAT(markdown, HasSubstr("30 runs produced output lengths off the asked length"));
  EXPECT_THAT(markdown, HasSubstr("output length is off"));
  EXPECT_THAT(markdown, HasSubstr("they were not idle"));
}

TEST(WriteReport, says_when_a_record_contradicts_itself) {
  sample::SampleRun run({});
  for (Json& record : run.records()) {
    if (record.at("record_type") != "request") continue;
    if (record.at("metadata").at("phase") != "measure") continue;
    record["metrics"]["request_latency"]["value"] = 1.0;
    break;
  }
  EXPECT_THAT(write_and_read(run).markdown, HasSubstr("1 request at odds with itself"));
}

TEST(WriteReport, calls_equal_subjects_equal) {
  sample::SampleOptions options;
  options.subjects = {{"a", "A", "iol", 2, 0.1, 5, 1e8}, {"b", "B", "iol", 2, 0.1, 5, 1e8}};
  EXPECT_THAT(write_and_read(sample::SampleRun(options)).markdown,
              HasSubstr("B is **not measurably faster or slower** than A"));
}

TEST(WriteReport, works_with_one_subject_one_repetition_and_one_scenario) {
  sample::SampleOptions options;
  options.subjects = {{"iol", "iol", "iol", 0.8, 0.05, 3, 1e8}};
  options.concurrencies = {};
  options.repetitions = 1;
  options.with_quality = false;
  options.with_canaries = false;
  const Written written = write_and_read(sample::SampleRun(options));
  EXPECT_THAT(written.markdown, HasSubstr("**iol** answers a request in **"));
  EXPECT_THAT(written.markdown, HasSubstr("No canary was recorded"));
  EXPECT_THAT(written.markdown, HasSubstr("Too few to tell a difference from noise"));
  EXPECT_TRUE(written.summary.at("comparisons").empty());
}

TEST(WriteReport, puts_several_runs_into_one_report_without_pairing_them) {
  const TemporaryFolder folder;
  sample::SampleOptions options;
  sample::SampleRun(options).write(folder.path() / "monday");
  options.run_id = "another-run";
  options.repetitions = 2;
  sample::SampleRun(options).write(folder.path() / "tuesday");
  write_report({folder.path() / "monday", folder.path() / "tuesday"}, folder.path() / "both");
  const Json summary = Json::parse(read_text(folder.path() / "both/summary.json"));
  ASSERT_EQ(summary.at("runs").size(), 2u);
  EXPECT_EQ(summary.at("runs").at(1).at("comparisons").at(0).at("pairs"), 2);
  EXPECT_THAT(read_text(folder.path() / "both/report.html"), HasSubstr("id=\"run2-throughput\""));
  EXPECT_THROW(write_report({folder.path() / "monday", folder.path() / "monday"}, folder.path()),
               InputError);
}

TEST(WriteReport, notes_the_records_of_a_killed_run) {
  const TemporaryFolder folder;
  sample::SampleRun({}).write(folder.path());
  const std::string text = read_text(folder.path() / "records.jsonl");
  folder.write("records.jsonl", text.substr(0, text.size() * 60 / 100));
  write_report(folder.path(), folder.path());
  const std::string markdown = read_text(folder.path() / "report.md");
  EXPECT_THAT(markdown, HasSubstr("is cut off, as by a killed run"));
  EXPECT_THAT(markdown, HasSubstr("requests were recorded. It was left out."));
  EXPECT_THAT(markdown, HasSubstr("The run is incomplete: not every scenario was repeated"));
}

TEST(WriteReport, leaves_the_old_report_when_the_disk_is_full) {
  const TemporaryFolder folder;
  sample::SampleRun({}).write(folder.path());
  folder.write("report.html", "the old one");
  const auto write_with_little_space = [&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {20'000, 20'000};  // bytes that a file may have
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write_report(folder.path(), folder.path());
    } catch (const ResourceError& error) {
      std::fprintf(stderr, "%s\n", error.what());
      std::_Exit(7);
    }
    std::_Exit(0);
  };
  EXPECT_EXIT(write_with_little_space(), ::testing::ExitedWithCode(7),
              "summary.json: can't be written: File too large; free some space");
  EXPECT_EQ(read_text(folder.path() / "report.html"), "the old one");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
}

TEST(WriteReport, refuses_an_output_folder_that_is_a_file) {
  const TemporaryFolder folder;
  sample::SampleRun({}).write(folder.path());
  folder.write("taken", "");
  EXPECT_THROW(write_report(folder.path(), folder.path() / "taken"), ResourceError);
  EXPECT_THROW(write_report(folder.path(), folder.path() / "taken/below"), ResourceError);
}

}  // namespace
}  // namespace iol::report
