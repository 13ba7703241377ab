// Memory for weights, cache and rows: aligned to cache lines, in large pages where the system has them.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <utility>

namespace mainspring {

inline int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

// Zeros at first; pages that nobody has touched take no memory.
template <class T>
class Array {
 public:
  Array() = default;
  explicit Array(size_t count) : count_(count) {
    if (count == 0) return;
    void* got = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
    madvise(got, bytes(), MADV_HUGEPAGE);
#endif
    data_ = static_cast<T*>(got);
  }
  Array(Array&& other) noexcept { swap(other); }
  Array& operator=(Array&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Array() {
    if (data_ != nullptr) munmap(data_, bytes());
  }

  T* data() const { return data_; }
  T& operator[](size_t index) const { return data_[index]; }
  size_t size() const { return count_; }
  size_t bytes() const { return count_ * sizeof(T); }

 private:
  void swap(Array& other) {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
  }

  T* data_ = nullptr;
  size_t count_ = 0;
};

}  // namespace mainspring
