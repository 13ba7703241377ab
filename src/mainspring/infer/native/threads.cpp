#include "threads.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mainspring {
namespace {

constexpr int kCountBits = 20;
constexpr uint64_t kCountMask = (1u << kCountBits) - 1;
constexpr int kSpins = 2000;         // some 30 microseconds: longer than the caller's share between two phases
constexpr int kSpinsToYield = 4000;  // the thread that is waited for may have no core

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

int next_of(uint64_t ticket) { return (int)(ticket & kCountMask); }
int count_of(uint64_t ticket) { return (int)(ticket >> kCountBits & kCountMask); }

}  // namespace

Threads::Threads(int count) {
  for (int thread = 1; thread < count; ++thread) workers_.emplace_back([this, thread] { work(thread); });
}

Threads::~Threads() {
  is_over_ = true;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    wake_.notify_all();
  }
  for (std::thread& worker : workers_) worker.join();
}

void Threads::run_erased(int count, const void* part, Call call) {
  part_ = part;
  call_ = call;
  done_.store(0, std::memory_order_relaxed);
  const uint64_t phase = (ticket_.load(std::memory_order_relaxed) >> (2 * kCountBits)) + 1;
  ticket_ = phase << (2 * kCountBits) | (uint64_t)count << kCountBits;
  if (sleepers_ > 0) {
    std::lock_guard<std::mutex> lock(mutex_);
    wake_.notify_all();
  }
  take_parts(0);
  for (int spins = 0; done_.load(std::memory_order_acquire) < count; ++spins) {
    if (spins < kSpinsToYield) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

bool Threads::has_parts() const {
  const uint64_t ticket = ticket_.load();
  return next_of(ticket) < count_of(ticket);
}

void Threads::take_parts(int thread) {
  while (has_parts()) {
    const uint64_t ticket = ticket_.fetch_add(1, std::memory_order_acq_rel);
    if (next_of(ticket) >= count_of(ticket)) return;
    call_(part_, next_of(ticket), thread);
    done_.fetch_add(1, std::memory_order_release);
  }
}

void Threads::work(int thread) {
  while (!is_over_) {
    for (int spins = 0; spins < kSpins && !has_parts(); ++spins) pause();
    if (has_parts()) {
      take_parts(thread);
    } else {
      sleep();
    }
  }
}

void Threads::sleep() {
  std::unique_lock<std::mutex> lock(mutex_);
  ++sleepers_;
  wake_.wait(lock, [this] { return has_parts() || is_over_; });
  --sleepers_;
}

}  // namespace mainspring
