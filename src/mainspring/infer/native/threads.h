// Threads that share out the parts of a phase; the caller's own takes part.
//
// A phase is over when its parts are done, not when all threads have come by: a thread that the system has put
// aside, because the cores are busy, holds up nobody unless it has taken a part.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mainspring {

constexpr int kSpins = 2000;         // some 30 microseconds: longer than the caller's share between two phases
constexpr int kSpinsToYield = 4000;  // the thread that is waited for may have no core

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

class Threads {
 public:
  using Part = std::function<void(int index)>;

  explicit Threads(int count) {
    for (int worker = 1; worker < count; ++worker) workers_.emplace_back([this] { work(); });
  }

  ~Threads() {
    is_over_ = true;
    wake();
    for (std::thread& worker : workers_) worker.join();
  }

  int count() const { return (int)workers_.size() + 1; }

  // Calls part(index) for every index below `count`, in any order; returns when all are done.
  void run(int count, const Part& part) {
    if (count <= 1 || workers_.empty()) {
      for (int index = 0; index < count; ++index) part(index);
      return;
    }
    part_ = &part;
    done_.store(0, std::memory_order_relaxed);
    const uint64_t phase = (ticket_.load(std::memory_order_relaxed) >> (2 * kCountBits)) + 1;
    ticket_ = phase << (2 * kCountBits) | (uint64_t)count << kCountBits;
    if (sleepers_ > 0) wake();
    take_parts();
    for (int spins = 0; done_.load(std::memory_order_acquire) < count; ++spins) {
      spins < kSpinsToYield ? pause() : std::this_thread::yield();
    }
  }

 private:
  static constexpr int kCountBits = 20;
  static int next_of(uint64_t ticket) { return (int)(ticket & ((1u << kCountBits) - 1)); }
  static int count_of(uint64_t ticket) { return next_of(ticket >> kCountBits); }

  bool has_parts() const {
    const uint64_t ticket = ticket_.load();
    return next_of(ticket) < count_of(ticket);
  }

  void take_parts() {
    while (has_parts()) {
      const uint64_t ticket = ticket_.fetch_add(1, std::memory_order_acq_rel);
      if (next_of(ticket) >= count_of(ticket)) return;
      (*part_)(next_of(ticket));
      done_.fetch_add(1, std::memory_order_release);
    }
  }

  void work() {
    while (!is_over_) {
      for (int spins = 0; spins < kSpins && !has_parts(); ++spins) pause();
      if (!has_parts()) sleep();
      take_parts();
    }
  }

  void sleep() {
    std::unique_lock<std::mutex> lock(mutex_);
    ++sleepers_;
    wake_.wait(lock, [this] { return has_parts() || is_over_; });
    --sleepers_;
  }

  void wake() {
    std::lock_guard<std::mutex> lock(mutex_);
    wake_.notify_all();
  }

  std::vector<std::thread> workers_;
  // Phase number, its count of parts and the next part in one word, so that whoever takes a part knows whose
  // it is: phase << 40 | count << 20 | next.
  std::atomic<uint64_t> ticket_{0};
  std::atomic<int> done_{0};
  const Part* part_ = nullptr;
  std::atomic<int> sleepers_{0};
  std::atomic<bool> is_over_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace mainspring
