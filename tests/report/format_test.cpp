#include "report/format.h"

#include <gtest/gtest.h>

#include <cmath>

#include "report/lookup.h"

namespace iol::report {
namespace {

/// Units stand behind a no-break space; the expectations below are easier to read without.
std::string plain(std::string text) {
  const std::string no_break = "\u00a0";
  for (auto at = text.find(no_break); at != std::string::npos; at = text.find(no_break)) {
    text.replace(at, no_break.size(), " ");
  }
  return text;
}

TEST(FormatNumber, keeps_three_digits_and_groups_thousands) {
  EXPECT_EQ(format_number(0), "0");
  EXPECT_EQ(format_number(0.00312), "0.00312");
  EXPECT_EQ(format_number(0.4514), "0.451");
  EXPECT_EQ(format_number(9.994), "9.99");
  EXPECT_EQ(format_number(9.996), "10.0");
  EXPECT_EQ(format_number(57.14), "57.1");
  EXPECT_EQ(format_number(99.96), "100");
  EXPECT_EQ(format_number(627.9), "628");
  EXPECT_EQ(format_number(999.7), "1,000");
  EXPECT_EQ(format_number(12345.6), "12,346");
  EXPECT_EQ(format_number(1234567), "1,234,567");
  EXPECT_EQ(format_number(-12345), "-12,345");
  EXPECT_EQ(format_number(1.0), "1.00");
  EXPECT_EQ(format_number(3e-9), "3.00e-09");
  EXPECT_EQ(format_number(std::nan("")), std::string(kAbsent));
}

TEST(FormatDuration, picks_the_unit_that_people_would) {
  EXPECT_EQ(plain(format_duration_ms(0)), "0 ms");
  EXPECT_EQ(plain(format_duration_ms(0.4513)), "451 µs");
  EXPECT_EQ(plain(format_duration_ms(0.9996)), "1.00 ms");
  EXPECT_EQ(plain(format_duration_ms(627.9)), "628 ms");
  EXPECT_EQ(plain(format_duration_ms(999.6)), "1.00 s");
  EXPECT_EQ(plain(format_duration_ms(1260)), "1.26 s");
  EXPECT_EQ(plain(format_duration_ms(200'000)), "3 min 20 s");
}

TEST(FormatBytes, uses_powers_of_1000) {
  EXPECT_EQ(plain(format_bytes(999)), "999 B");
  EXPECT_EQ(plain(format_bytes(6144)), "6.14 kB");
  EXPECT_EQ(plain(format_bytes(999.6e6)), "1.00 GB");
  EXPECT_EQ(plain(format_bandwidth(62.04e9)), "62.0 GB/s");
}

TEST(FormatShares, show_a_digit_more_where_it_matters) {
  EXPECT_EQ(plain(format_percent(0.874)), "87 %");
  EXPECT_EQ(plain(format_percent(0.0342)), "3.4 %");
  EXPECT_EQ(plain(format_percent(0)), "0 %");
  EXPECT_EQ(format_gain(3.149), "3.15×");
  EXPECT_EQ(format_interval({3.021, 3.279}), "3.02–3.28");
  EXPECT_EQ(format_count(2910), "2,910");
}

TEST(Escape, leaves_no_markup_in_html_or_markdown) {
  EXPECT_EQ(escape_html("<b onclick=\"x\">&'</b>"),
            "&lt;b onclick=&quot;x&quot;&gt;&amp;&#39;&lt;/b&gt;");
  EXPECT_EQ(escape_html(std::string("a\0b\x1b", 4)), "a b ");
  EXPECT_EQ(escape_markdown("a|b\n# c `d` <i> *e* _f_ [g](h)"),
            "a\\|b \\# c \\`d\\` &lt;i> \\*e\\* \\_f\\_ \\[g\\](h)");
}

TEST(HumanizeFieldName, reads_like_a_label) {
  EXPECT_EQ(humanize_field_name("cpu_model"), "CPU model");
  EXPECT_EQ(humanize_field_name("machine.cgroup_cpu_quota"), "Machine · cgroup CPU quota");
  EXPECT_EQ(humanize_field_name("memory_bytes"), "Memory");
}

TEST(Flatten, shows_every_scalar_with_the_unit_of_its_name) {
  const Json json = {{"machine", {{"memory_bytes", 25.2e9}, {"governor", nullptr}}},
                     {"isa", {"avx2", "avx512"}},
                     {"load_s", 0.25},
                     {"on", true}};
  std::string text;
  for (const auto& [path, value] : flatten(json)) text += path + "=" + plain(value) + ";";
  EXPECT_EQ(text,
            "isa=avx2, avx512;load_s=250 ms;machine.governor=not available;"
            "machine.memory_bytes=25.2 GB;on=yes;");
}

TEST(FindText, looks_at_any_depth_and_skips_what_is_null) {
  const Json json = {{"a", {{"cpu_model", nullptr}}}, {"b", {{"c", {{"cpu_model", "X"}}}}}};
  EXPECT_EQ(find_text(json, {"gpu_name", "cpu_model"}), "X");
  EXPECT_EQ(find_text(json, {"nothing"}), std::nullopt);
}

}  // namespace
}  // namespace iol::report
