#include "base/thread_pool.h"

#include <algorithm>

#include "base/cpu.h"

namespace iol {
namespace {

// About 50 microseconds of spinning: longer than the host work between two sections of a step.
constexpr int kSpins = 4000;
// More members than processors: whoever spins keeps another from working.
constexpr int kSpinsWhenCrowded = 20;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int num_threads)
    : num_threads_(std::max(num_threads, 1)),
      spins_(num_threads_ > default_num_threads() ? kSpinsWhenCrowded : kSpins) {
  for (int thread = 1; thread < num_threads_; ++thread) {
    threads_.emplace_back([this, thread] { work(thread); });
  }
}

ThreadPool::~ThreadPool() {
  stopping_.store(true);
  generation_.fetch_add(1);
  generation_.notify_all();
  for (auto& thread : threads_) thread.join();
}

ThreadPool::Range ThreadPool::range_of(int thread, std::int64_t count, std::int64_t grain) const {
  const std::int64_t grains = (count + grain - 1) / grain;
  const auto border = [&](int member) {
    return std::min(grains * member / num_threads_ * grain, count);
  };
  return {border(thread), border(thread + 1)};
}

void ThreadPool::run_erased(Entry entry, void* context) {
  if (num_threads_ == 1) {
    entry(context, 0);
    return;
  }
  entry_ = entry;
  context_ = context;
  num_running_.store(num_threads_ - 1, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  entry(context, 0);
  int spins = 0;
  while (const int num_running = num_running_.load(std::memory_order_acquire)) {
    if (++spins < spins_) {
      relax();
    } else {
      num_running_.wait(num_running, std::memory_order_acquire);
    }
  }
}

void ThreadPool::work(int thread) {
  std::uint32_t seen = 0;
  while (true) {
    int spins = 0;
    std::uint32_t current = generation_.load(std::memory_order_acquire);
    while (current == seen) {
      if (++spins < spins_) {
        relax();
      } else {
        generation_.wait(seen, std::memory_order_acquire);
      }
      current = generation_.load(std::memory_order_acquire);
    }
    seen = current;
    if (stopping_.load(std::memory_order_acquire)) return;
    entry_(context_, thread);
    if (num_running_.fetch_sub(1, std::memory_order_acq_rel) == 1) num_running_.notify_one();
  }
}

}  // namespace iol
