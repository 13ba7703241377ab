// What is done to one row of numbers at a time: normalizing it, turning its heads and spreading it.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "lanes.h"
#include "memory.h"

namespace mainspring {

constexpr int kBlock = 32;  // rows are padded to a multiple of it
constexpr int kMostSpread = 512;

// RMS norm (arXiv:1910.07467) of `count` numbers; both rows are padded with zeros to whole registers.
struct Norm {
  Norm() = default;
  Norm(const float* from, int count, float eps) : weights(from, from + count), eps(eps) {
    weights.resize(round_up(count, kBlock));
  }

  bool is_none() const { return weights.empty(); }

  void apply(const float* from, float* to, int count) const {
    Floats squares = {};
    for (int i = 0; i < count; i += kLanes) squares = multiply_add(load(from + i), load(from + i), squares);
    const float factor = 1.0f / std::sqrt(sum(squares) / (float)count + eps);
    for (int i = 0; i < count; i += kLanes) store(to + i, load(from + i) * factor * load(weights.data() + i));
  }

  // The same where other numbers follow instead of zeros; nothing where there is no norm.
  void apply_within(float* numbers, int count) const {
    if (is_none()) return;
    std::vector<float> padded(weights.size());
    std::copy_n(numbers, count, padded.data());
    apply(padded.data(), padded.data(), count);
    std::copy_n(padded.data(), count, numbers);
  }

  std::vector<float> weights;  // padded with zeros
  float eps = 0.0f;
};

// Turns the pairs (i, i + pairs) of a head by angles that grow with its position (arXiv:2104.09864, eq. 34).
struct Rope {
  int pairs() const { return (int)frequencies.size(); }

  // Every pair's cosine, then every pair's sine.
  void set_angles(int position, float* angles) const {
    float *cos = angles, *sin = angles + pairs();
    for (int pair = 0; pair < pairs(); ++pair) {
      const float angle = (float)position * frequencies[pair];
      cos[pair] = std::cos(angle) * amplitude;
      sin[pair] = std::sin(angle) * amplitude;
    }
  }

  void turn(float* head, const float* angles) const {
    const int count = pairs();
    const float *cos = angles, *sin = angles + count;
    for (int pair = 0; pair < count; ++pair) {
      const float left = head[pair], right = head[pair + count];
      head[pair] = left * cos[pair] - right * sin[pair];
      head[pair + count] = right * cos[pair] + left * sin[pair];
    }
  }

  std::vector<float> frequencies;
  float amplitude = 1.0f;
};

// The power of two that rows of so many numbers are spread by; 1: they are not.
inline int spread_size_of(int count) {
  const int power = std::min(count & -count, kMostSpread);
  return power >= kLanes ? power : 1;
}

// Within a register: each lane and its partner `kStep` lanes away become their sum and their difference.
template <int kStep>
inline Floats spread_lanes(Floats x) {
  Floats partners, signs;
  for (int lane = 0; lane < kLanes; ++lane) {
    partners[lane] = x[lane ^ kStep];
    signs[lane] = lane & kStep ? -1.0f : 1.0f;
  }
  return multiply_add(x, signs, partners);
}

// Multiplies every `size` numbers (a power of two, 16 or more; 1: nothing is done) with Sylvester's matrix of that
// size, unscaled: the fast Walsh-Hadamard transform.
inline void spread(float* row, int count, int size) {
  if (size == 1) return;
  for (int i = 0; i < count; i += kLanes) {
    const Floats pairs = spread_lanes<2>(spread_lanes<1>(load(row + i)));
    store(row + i, spread_lanes<8>(spread_lanes<4>(pairs)));
  }
  for (int step = kLanes; step < size; step *= 2) {
    for (int start = 0; start < count; start += 2 * step) {
      for (int i = start; i < start + step; i += kLanes) {
        const Floats left = load(row + i), right = load(row + i + step);
        store(row + i, left + right);
        store(row + i + step, left - right);
      }
    }
  }
}

// The same divided by `size`, for what such rows are multiplied with.
inline void spread_weights(float* row, int count, int size) {
  spread(row, count, size);
  for (int i = 0; i < count; ++i) row[i] /= (float)size;
}

}  // namespace mainspring
