// Threads that share out the parts of a phase; the caller's own takes part.
//
// A phase is over when its parts are done, not when all threads have come by: a thread that the system has put
// aside, because the cores are busy, holds up nobody unless it has taken a part.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace mainspring {

class Threads {
 public:
  explicit Threads(int count);
  ~Threads();

  int count() const { return (int)workers_.size() + 1; }

  // Calls part(index, thread) for every index below `count`, in any order; returns when all are done.
  template <class Part>
  void run(int count, const Part& part) {
    if (count <= 1 || workers_.empty()) {
      for (int index = 0; index < count; ++index) part(index, 0);
      return;
    }
    run_erased(count, &part, [](const void* erased, int index, int thread) {
      (*static_cast<const Part*>(erased))(index, thread);
    });
  }

 private:
  using Call = void (*)(const void* part, int index, int thread);

  void run_erased(int count, const void* part, Call call);
  void work(int thread);
  void take_parts(int thread);
  bool has_parts() const;
  void sleep();

  std::vector<std::thread> workers_;
  // Phase number, its count of parts and the next part in one word, so that whoever takes a part knows whose
  // it is: phase << 40 | count << 20 | next.
  std::atomic<uint64_t> ticket_{0};
  std::atomic<int> done_{0};
  const void* part_ = nullptr;
  Call call_ = nullptr;
  std::atomic<int> sleepers_{0};
  std::atomic<bool> is_over_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace mainspring
