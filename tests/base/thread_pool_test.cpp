#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

namespace iol {
namespace {

TEST(ThreadPool, runs_the_body_once_on_every_member) {
  for (const int num_threads : {1, 2, 3, 7}) {
    ThreadPool pool(num_threads);
    std::vector<int> runs(static_cast<std::size_t>(num_threads), 0);
    for (int section = 0; section < 200; ++section)
      pool.run([&](int thread) { ++runs[static_cast<std::size_t>(thread)]; });
    EXPECT_EQ(runs, std::vector<int>(static_cast<std::size_t>(num_threads), 200));
  }
}

TEST(ThreadPool, what_members_wrote_is_seen_after_run) {
  ThreadPool pool(3);
  std::vector<std::int64_t> values(10'000);
  for (int round = 0; round < 50; ++round) {
    pool.for_ranges(static_cast<std::int64_t>(values.size()), 1,
                    [&](std::int64_t begin, std::int64_t end, int /*thread*/) {
                      for (std::int64_t i = begin; i < end; ++i)
                        values[static_cast<std::size_t>(i)] += i;
                    });
    const auto sum = std::accumulate(values.begin(), values.end(), std::int64_t{0});
    EXPECT_EQ(sum, (round + 1) * (10'000LL * 9'999 / 2));
  }
}

TEST(ThreadPool, a_single_grain_is_the_callers) {
  ThreadPool pool(3);
  const auto caller = std::this_thread::get_id();
  for (const std::int64_t count : {0, 1, 7, 8}) {
    int num_calls = 0;
    pool.for_ranges(count, 8, [&](std::int64_t begin, std::int64_t end, int thread) {
      EXPECT_EQ(std::this_thread::get_id(), caller);
      EXPECT_EQ(thread, 0);
      EXPECT_EQ(begin, 0);
      EXPECT_EQ(end, count);
      ++num_calls;
    });
    EXPECT_EQ(num_calls, count > 0 ? 1 : 0);
  }
}

TEST(ThreadPool, ranges_cover_everything_once_on_multiples_of_the_grain) {
  for (const int num_threads : {1, 2, 5, 16}) {
    const ThreadPool pool(num_threads);
    for (const std::int64_t count : {0, 1, 63, 64, 65, 1000}) {
      std::int64_t next = 0;
      for (int thread = 0; thread < num_threads; ++thread) {
        const auto [begin, end] = pool.range_of(thread, count, 64);
        EXPECT_EQ(begin, next);
        EXPECT_TRUE(end % 64 == 0 || end == count);
        EXPECT_LE(begin, end);
        next = end;
      }
      EXPECT_EQ(next, count);
    }
  }
}

TEST(ThreadPool, wakes_members_that_have_gone_to_sleep) {
  ThreadPool pool(2);
  std::atomic<int> runs = 0;
  pool.run([&](int /*thread*/) { ++runs; });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // far beyond the spinning
  pool.run([&](int /*thread*/) { ++runs; });
  EXPECT_EQ(runs, 4);
}

TEST(ThreadPool, treats_an_impossible_size_as_one) {
  ThreadPool pool(0);
  EXPECT_EQ(pool.num_threads(), 1);
  int runs = 0;
  pool.run([&](int /*thread*/) { ++runs; });
  EXPECT_EQ(runs, 1);
}

TEST(ThreadPool, many_come_and_go) {
  for (int i = 0; i < 200; ++i) {
    ThreadPool pool(4);
    std::atomic<int> runs = 0;
    if (i % 2 == 0) {
      pool.run([&](int /*thread*/) { ++runs; });
      EXPECT_EQ(runs, 4);
    }
  }
}

}  // namespace
}  // namespace iol
