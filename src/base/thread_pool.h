#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace iol {

/// A fixed team for short data-parallel sections. The caller is member 0. Members spin for a while
/// between sections, so that a section costs about a microsecond, and then sleep; so does the
/// caller at a section's end. One caller at a time; not reentrant.
class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] int num_threads() const { return num_threads_; }

  /// Runs body(thread) on every member and returns when all are done. `body` must not throw.
  template <class Body>
  void run(Body&& body) {
    run_erased([](void* context,
                  int thread) { (*static_cast<std::remove_reference_t<Body>*>(context))(thread); },
               &body);
  }

  /// Splits [0, count) into one contiguous range per member, on multiples of `grain`. A single
  /// grain is the caller's.
  template <class Body>
  void for_ranges(std::int64_t count, std::int64_t grain, Body&& body) {
    if (count <= grain) {  // one range: the caller's, and nobody is woken
      if (count > 0) body(std::int64_t{0}, count, 0);
      return;
    }
    run([&](int thread) {
      const auto [begin, end] = range_of(thread, count, grain);
      if (begin < end) body(begin, end, thread);
    });
  }

  struct Range {
    std::int64_t begin;
    std::int64_t end;
  };
  [[nodiscard]] Range range_of(int thread, std::int64_t count, std::int64_t grain = 1) const;

 private:
  using Entry = void (*)(void* context, int thread);
  void run_erased(Entry entry, void* context);
  void work(int thread);

  int num_threads_;
  int spins_;  // before a member yields or sleeps
  Entry entry_ = nullptr;
  void* context_ = nullptr;
  alignas(64) std::atomic<std::uint32_t> generation_{0};
  alignas(64) std::atomic<int> num_running_{0};
  alignas(64) std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace iol
