// The figures of an audit, against sums done another way.
#include "workload/audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/random.h"
#include "tests/temporary_folder.h"
#include "workload/advice.h"
#include "workload/audit_output.h"

namespace iol {
namespace {

constexpr std::int64_t kMs = 1'000'000;

/// A trace that is given.
class ListedTrace final : public TraceReader {
 public:
  struct Entry {
    std::int64_t t_ns, input, output;
    std::vector<std::int64_t> blocks = {};
  };
  explicit ListedTrace(std::vector<Entry> entries, bool timed = true)
      : TraceReader({.latest_ns = std::int64_t{1} << 62}),
        entries_(std::move(entries)),
        timed_(timed) {}
  TraceForm form() const override { return TraceForm::kMooncake; }

 protected:
  bool read(TraceRequest& request) override {
    if (place_ == entries_.size()) return false;
    const Entry& entry = entries_[place_++];
    if (timed_) request.t_ns = entry.t_ns;
    request.input_tokens = entry.input;
    request.output_tokens = entry.output;
    request.failed = entry.output == 0;
    request.block_ids = entry.blocks;
    return true;
  }
  [[noreturn]] void fail(std::string_view problem) const override {
    throw InputError(std::string(problem));
  }

 private:
  std::vector<Entry> entries_;
  bool timed_;
  std::size_t place_ = 0;
};

Workload audit(std::vector<ListedTrace::Entry> entries, const AuditOptions& options = {},
               bool timed = true) {
  ListedTrace trace(std::move(entries), timed);
  return audit_trace(trace, "listed", options);
}

std::vector<ListedTrace::Entry> random_entries(std::size_t count) {
  RandomStream random(5);
  std::vector<ListedTrace::Entry> entries;
  std::int64_t t_ns = 0;
  for (std::size_t i = 0; i < count; ++i) {
    t_ns += static_cast<std::int64_t>(-std::log(1 - random.uniform()) * 200 * kMs);
    const auto input = static_cast<std::int64_t>(std::exp(11 * random.uniform()));
    entries.push_back({t_ns, input, static_cast<std::int64_t>(random.below(500))});
  }
  return entries;
}

TEST(LengthHistogram, percentiles_are_those_of_the_sorted_values) {
  RandomStream random(3);
  LengthHistogram histogram;
  std::vector<std::int64_t> values;
  for (int i = 0; i < 5000; ++i) {
    // Some of them beyond what is counted directly.
    values.push_back(static_cast<std::int64_t>(std::exp(14 * random.uniform())));
    histogram.add(values.back());
  }
  std::sort(values.begin(), values.end());
  const std::vector<double> percents = {0.01, 1, 25, 50, 90, 95, 99, 99.99, 100};
  const auto found = histogram.percentiles(percents);
  for (std::size_t i = 0; i < percents.size(); ++i) {
    const auto rank = static_cast<std::size_t>(std::ceil(5000 * percents[i] / 100));
    EXPECT_EQ(found[i], values[std::max<std::size_t>(rank, 1) - 1]) << percents[i];
  }
  EXPECT_EQ(histogram.max(), values.back());
  EXPECT_EQ(LengthHistogram().percentiles({50}), std::vector<std::int64_t>{0});
}

TEST(SeenBlocks, counts_exactly_while_there_is_room) {
  SeenBlocks seen;
  for (const std::int64_t id : {1, 2, 1, 3, 1, -7, -7}) seen.add(id);
  EXPECT_EQ(seen.accesses(), 7);
  EXPECT_DOUBLE_EQ(seen.hit_share(), 3.0 / 7);
  EXPECT_EQ(seen.different(), 4);
  EXPECT_EQ(seen.sampled_share(), 1);
}

TEST(SeenBlocks, many_at_once_are_the_same_as_one_by_one) {
  RandomStream random(2);
  std::vector<std::int64_t> ids;
  for (int i = 0; i < 20'000; ++i)
    ids.push_back(static_cast<std::int64_t>(random.below(9'000)) << 40);
  SeenBlocks together;
  SeenBlocks apart;
  together.add(ids);
  for (const std::int64_t id : ids) apart.add(id);
  EXPECT_EQ(together.hit_share(), apart.hit_share());
  EXPECT_EQ(together.different(), apart.different());
  EXPECT_EQ(together.accesses(), 20'000);
}

TEST(SeenBlocks, numbered_blocks_are_exact_beside_hashed_ones) {
  SeenBlocks seen;
  const std::int64_t last = SeenBlocks::kDenseIds - 1;
  for (const std::int64_t id : {last, last, last + 1, last + 1, last + 1, std::int64_t{0}})
    seen.add(id);
  EXPECT_EQ(seen.different(), 3);
  EXPECT_DOUBLE_EQ(seen.hit_share(), 3.0 / 6);
}

TEST(SeenBlocks, numbered_blocks_are_exact_whatever_the_bound) {
  SeenBlocks bounded(10);
  for (int round = 0; round < 2; ++round)
    for (std::int64_t id = 0; id < 300'000; ++id) bounded.add(id);
  EXPECT_EQ(bounded.different(), 300'000);
  EXPECT_DOUBLE_EQ(bounded.hit_share(), 0.5);
  EXPECT_EQ(bounded.sampled_share(), 1);
}

TEST(SeenBlocks, estimates_hashed_ones_in_bounded_memory) {
  constexpr std::int64_t kHashed = std::int64_t{1} << 40;
  SeenBlocks bounded(2000);
  SeenBlocks exact;
  RandomStream random(11);
  for (int i = 0; i < 200'000; ++i) {
    const auto id = kHashed + static_cast<std::int64_t>(std::pow(random.uniform(), 2) * 100'000);
    bounded.add(id);
    exact.add(id);
  }
  EXPECT_EQ(exact.sampled_share(), 1);
  EXPECT_LT(bounded.sampled_share(), 0.05);
  EXPECT_NEAR(bounded.hit_share(), exact.hit_share(), 0.05);
  EXPECT_NEAR(bounded.different() / exact.different(), 1, 0.1);
}

TEST(Audit, lengths_leave_out_requests_without_an_output) {
  const Workload workload = audit({{0, 10, 5}, {1, 1000, 0}, {2, 30, 7}});
  EXPECT_EQ(workload.requests, 3);
  EXPECT_EQ(workload.failed, 1);
  EXPECT_EQ(workload.input.max, 30);
  EXPECT_DOUBLE_EQ(workload.input.mean, 20);
  EXPECT_DOUBLE_EQ(workload.output.total, 12);
  EXPECT_EQ(workload.total.p99, 37);
}

TEST(Audit, joint_distribution_by_hand) {
  const Workload workload = audit({{0, 128, 16}, {1, 129, 16}, {2, 129, 17}, {3, 40'000, 5000}});
  EXPECT_DOUBLE_EQ(workload.joint[0][0], 0.25);
  EXPECT_DOUBLE_EQ(workload.joint[1][0], 0.25);
  EXPECT_DOUBLE_EQ(workload.joint[1][1], 0.25);
  EXPECT_DOUBLE_EQ(workload.joint[5][5], 0.25);
}

TEST(Audit, correlation_is_that_of_two_passes) {
  const auto entries = random_entries(2000);
  double mx = 0, my = 0, n = 0;
  for (const auto& entry : entries) {
    if (entry.output == 0) continue;
    mx += std::log1p(static_cast<double>(entry.input));
    my += std::log1p(static_cast<double>(entry.output));
    ++n;
  }
  mx /= n;
  my /= n;
  double xx = 0, yy = 0, xy = 0;
  for (const auto& entry : entries) {
    if (entry.output == 0) continue;
    const double x = std::log1p(static_cast<double>(entry.input)) - mx;
    const double y = std::log1p(static_cast<double>(entry.output)) - my;
    xx += x * x;
    yy += y * y;
    xy += x * y;
  }
  EXPECT_NEAR(*audit(entries).length_correlation, xy / std::sqrt(xx * yy), 1e-12);
}

TEST(Audit, regular_arrivals_have_no_variation) {
  std::vector<ListedTrace::Entry> entries;
  for (int i = 0; i <= 100; ++i) entries.push_back({i * 500 * kMs, 10, 10});
  const auto arrivals = *audit(entries).arrivals;
  EXPECT_DOUBLE_EQ(arrivals.span_s, 50);
  EXPECT_DOUBLE_EQ(arrivals.mean_rate_req_s, 2);
  EXPECT_NEAR(*arrivals.gap_variation, 0, 1e-9);
  ASSERT_GE(arrivals.windows.size(), 2U);
  EXPECT_EQ(arrivals.windows[0].window_s, 1);
  EXPECT_EQ(arrivals.windows[0].busiest, 2);
  EXPECT_NEAR(arrivals.windows[0].dispersion, 0, 1e-12);
}

TEST(Audit, variation_and_dispersion_are_those_of_two_passes) {
  const auto entries = random_entries(3000);
  const auto arrivals = *audit(entries).arrivals;
  std::vector<double> gaps;
  for (std::size_t i = 1; i < entries.size(); ++i)
    gaps.push_back(static_cast<double>(entries[i].t_ns - entries[i - 1].t_ns));
  double mean = 0;
  for (const double gap : gaps) mean += gap / static_cast<double>(gaps.size());
  double squares = 0;
  for (const double gap : gaps) squares += (gap - mean) * (gap - mean);
  const double deviation = std::sqrt(squares / static_cast<double>(gaps.size() - 1));
  EXPECT_NEAR(*arrivals.gap_variation, deviation / mean, 1e-9);
  EXPECT_NEAR(*arrivals.gap_variation, 1, 0.05) << "these arrivals are a Poisson process";

  std::map<std::int64_t, double> counts;
  for (const auto& entry : entries) counts[(entry.t_ns - entries[0].t_ns) / (1000 * kMs)] += 1;
  const std::int64_t windows = counts.rbegin()->first;  // the last one is left out
  double sum = 0;
  for (std::int64_t i = 0; i < windows; ++i) sum += counts[i];
  const double average = sum / static_cast<double>(windows);
  double variance = 0;
  for (std::int64_t i = 0; i < windows; ++i) variance += std::pow(counts[i] - average, 2);
  variance /= static_cast<double>(windows - 1);
  EXPECT_EQ(arrivals.windows[0].windows, windows);
  EXPECT_NEAR(arrivals.windows[0].dispersion, variance / average, 1e-9);
}

TEST(Audit, a_long_pause_counts_as_empty_windows) {
  std::vector<ListedTrace::Entry> entries;
  for (int i = 0; i < 10; ++i) entries.push_back({i * kMs, 1, 1});
  entries.push_back({100'000 * kMs, 1, 1});
  const auto window = audit(entries).arrivals->windows.at(0);
  EXPECT_EQ(window.windows, 100);
  EXPECT_DOUBLE_EQ(window.mean, 0.1);
  EXPECT_NEAR(window.dispersion, (100 - 100 * 0.01) / 99 / 0.1, 1e-9);
}

TEST(Audit, hours_and_utilization) {
  constexpr std::int64_t kHour = 3'600'000 * kMs;
  // 100 output tokens in the first hour, 300 in the second, 200 in the third, which ends the trace.
  const Workload workload =
      audit({{0, 1, 100}, {kHour, 1, 150}, {kHour + 1, 1, 150}, {3 * kHour - 1, 1, 200}});
  ASSERT_EQ(workload.arrivals->hours.size(), 3U);
  EXPECT_EQ(workload.arrivals->hours[1].requests, 2);
  const auto utilization = utilization_of(workload);
  EXPECT_EQ(utilization->sized_for, "busiest hour");
  EXPECT_NEAR(utilization->share, 200.0 / 300, 1e-6);
}

TEST(Audit, requests_in_flight_by_hand) {
  // 100 ms to the first token, 10 ms for each further: 0-150, 100-250, 400-550 ms.
  const AuditOptions options{.times = {.ttft_ms = 100, .tpot_ms = 10}};
  const Workload workload = audit({{0, 94, 6}, {100 * kMs, 94, 6}, {400 * kMs, 94, 6}}, options);
  const auto concurrency = *workload.concurrency;
  EXPECT_EQ(concurrency.max, 2);
  EXPECT_NEAR(concurrency.mean, 450.0 / 550, 1e-9);
  EXPECT_EQ(concurrency.p50, 1);  // 150 ms nobody, 350 ms one, 50 ms two
  EXPECT_EQ(concurrency.p95, 2);
  EXPECT_EQ(concurrency.max_tokens, 200);
  EXPECT_NEAR(concurrency.mean_tokens, 100 * 450.0 / 550, 1e-9);
}

TEST(Audit, requests_in_flight_follow_littles_law) {
  const auto entries = random_entries(2000);
  const AuditOptions options{.times = {.ttft_ms = 50, .tpot_ms = 4}};
  double work_ms = 0;
  std::int64_t end_ns = 0;
  for (const auto& entry : entries) {
    if (entry.output == 0) continue;
    const double ms = 50 + 4 * static_cast<double>(entry.output - 1);
    work_ms += ms;
    end_ns = std::max<std::int64_t>(end_ns, entry.t_ns + std::llround(ms * 1e6));
  }
  const Workload workload = audit(entries, options);
  const double first_ns =
      static_cast<double>(std::find_if(entries.begin(), entries.end(), [](const auto& e) {
                            return e.output > 0;
                          })->t_ns);
  EXPECT_NEAR(workload.concurrency->mean, work_ms * 1e6 / (static_cast<double>(end_ns) - first_ns),
              1e-9);
}

TEST(Audit, static_batches_wait_for_their_longest) {
  const AuditOptions options{.static_batch = 2};
  // Batches (10, 30) and (20): 60 tokens in 2 * 30 + 1 * 20 places.
  const Workload workload = audit({{0, 1, 10}, {1, 1, 30}, {2, 1, 20}}, options);
  EXPECT_NEAR(workload.static_batch_waste, 1 - 60.0 / 80, 1e-12);
}

TEST(Audit, contiguous_caches_reserve_the_longest) {
  const Workload workload = audit({{0, 90, 10}, {1, 10, 10}});
  EXPECT_NEAR(workload.contiguous_waste, 1 - 60.0 / 100, 1e-12);
}

TEST(Audit, prefixes_that_came_before) {
  const Workload workload = audit({{0, 1024, 1, {1, 2}}, {1, 1536, 1, {1, 2, 3}}, {2, 5, 1, {1}}});
  EXPECT_DOUBLE_EQ(workload.prefixes->shared, 0.5);
  EXPECT_DOUBLE_EQ(workload.prefixes->different, 3);
  EXPECT_FALSE(audit({{0, 5, 5}}).prefixes);
}

TEST(Audit, without_times_says_nothing_about_them) {
  const Workload workload = audit({{0, 5, 5}, {0, 6, 6}}, {}, false);
  EXPECT_FALSE(workload.arrivals);
  EXPECT_FALSE(workload.concurrency);
  EXPECT_FALSE(utilization_of(workload));
  EXPECT_THAT(audit_text(workload, advise(workload, {})), testing::HasSubstr("has no times"));
  EXPECT_TRUE(audit_json(workload, advise(workload, {})).at("arrivals").is_null());
}

TEST(Audit, all_at_once_is_a_span_of_nothing) {
  const Workload workload = audit({{7, 5, 5}, {7, 6, 6}, {7, 8, 9}});
  EXPECT_EQ(workload.arrivals->span_s, 0);
  EXPECT_EQ(workload.arrivals->mean_rate_req_s, 0);
  EXPECT_FALSE(workload.arrivals->gap_variation);
  EXPECT_EQ(workload.concurrency->max, 3);
  EXPECT_FALSE(audit_json(workload, {}).dump().empty());
}

TEST(Audit, without_any_answer_is_refused) {
  EXPECT_THROW(static_cast<void>(audit({})), InputError);
  EXPECT_THROW(static_cast<void>(audit({{0, 5, 0}})), InputError);
}

const Advice& advice_on(const std::vector<Advice>& advice, const std::string& lever) {
  const auto found = std::find_if(advice.begin(), advice.end(),
                                  [&](const Advice& entry) { return entry.lever == lever; });
  if (found == advice.end()) throw std::runtime_error("no advice on " + lever);
  return *found;
}

TEST(Advice, on_memory_comes_from_the_models_bytes) {
  const Workload workload = audit({{0, 900, 100}}, {}, false);  // 1000 tokens in the cache
  const ModelBytes model{"m", 1e6, 0.5e6, 0.25e6, 500, 250};
  const auto advice = advise(workload, model);
  EXPECT_NEAR(*advice_on(advice, "quantized weights").factor, 1.5e6 / 1.0e6, 1e-9);
  EXPECT_NEAR(*advice_on(advice, "quantized KV cache").factor, 1.5e6 / 1.25e6, 1e-9);
  EXPECT_EQ(advice_on(advise(workload, {}), "quantized weights").verdict,
            Advice::Verdict::kUnknown);
}

TEST(Advice, on_batching_needs_requests_in_flight) {
  const AuditOptions fast{.times = {.ttft_ms = 1, .tpot_ms = 0.1}};
  std::vector<ListedTrace::Entry> entries;
  for (int i = 0; i < 64; ++i) entries.push_back({i * 1000 * kMs, 10, i % 2 == 0 ? 10 : 100});
  EXPECT_EQ(advice_on(advise(audit(entries, fast), {}), "in-flight batching").verdict,
            Advice::Verdict::kLittle);
  const AuditOptions slow{.times = {.ttft_ms = 1000, .tpot_ms = 100}};
  const auto& advice = advise(audit(entries, slow), {});
  EXPECT_EQ(advice_on(advice, "in-flight batching").verdict, Advice::Verdict::kHelps);
  EXPECT_NEAR(*advice_on(advice, "in-flight batching").factor, 100 / 55.0, 1e-9);
}

TEST(Advice, on_prefixes_is_the_share_that_is_not_computed_again) {
  const Workload workload = audit({{0, 1024, 1, {1, 2}}, {1, 1024, 1, {1, 2}}});
  EXPECT_DOUBLE_EQ(*advice_on(advise(workload, {}), "prefix cache").factor, 2);
  EXPECT_EQ(advice_on(advise(audit({{0, 5, 5}}), {}), "prefix cache").verdict,
            Advice::Verdict::kUnknown);
}

}  // namespace
}  // namespace iol
