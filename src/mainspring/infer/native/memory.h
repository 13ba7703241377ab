// Memory for weights, cache and rows: aligned to cache lines, in large pages where the system has them.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <memory>
#include <new>

namespace mainspring {

inline int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

struct Unmap {
  size_t size_bytes = 0;
  void operator()(void* data) const { munmap(data, size_bytes); }
};

// Zeros at first; pages that nobody has touched take no memory.
template <class T>
class Array {
 public:
  Array() = default;
  explicit Array(size_t count) : data_(nullptr, {count * sizeof(T)}) {
    if (count == 0) return;
    void* got = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
    madvise(got, bytes(), MADV_HUGEPAGE);
#endif
    data_.reset(static_cast<T*>(got));
  }

  T* data() const { return data_.get(); }
  size_t size() const { return bytes() / sizeof(T); }
  size_t bytes() const { return data_.get_deleter().size_bytes; }

 private:
  std::unique_ptr<T, Unmap> data_;
};

// Rows of equal width, one behind the other.
template <class T>
struct Rows {
  Rows() = default;
  Rows(size_t count, int width) : width(width), numbers(count * width) {}

  T* operator[](size_t row) const { return numbers.data() + row * width; }

  int width = 0;
  Array<T> numbers;
};

}  // namespace mainspring
