#include "rows.h"

#include <algorithm>
#include <cmath>

#include "lanes.h"

namespace mainspring {

constexpr int kMostSpread = 512;

void Norm::apply(const float* from, float* to, int count) const {
  Floats squares = {};
  for (int i = 0; i < count; i += kLanes) squares = multiply_add(load(from + i), load(from + i), squares);
  const float factor = 1.0f / std::sqrt(sum(squares) / (float)count + eps);
  for (int i = 0; i < count; i += kLanes) store(to + i, load(from + i) * factor * load(weights.data() + i));
}

void Norm::apply_within(float* numbers, int count) const {
  if (weights.empty()) return;
  std::vector<float> padded(weights.size());
  std::copy_n(numbers, count, padded.data());
  apply(padded.data(), padded.data(), count);
  std::copy_n(padded.data(), count, numbers);
}

void Rope::turn(int position, float* cos, float* sin) const {
  for (int pair = 0; pair < pairs(); ++pair) {
    const float angle = (float)position * frequencies[pair];
    cos[pair] = std::cos(angle) * amplitude;
    sin[pair] = std::sin(angle) * amplitude;
  }
}

void rotate(float* head, const float* cos, const float* sin, int pairs) {
  for (int pair = 0; pair < pairs; ++pair) {
    const float left = head[pair], right = head[pair + pairs];
    head[pair] = left * cos[pair] - right * sin[pair];
    head[pair + pairs] = right * cos[pair] + left * sin[pair];
  }
}

namespace {

// Within a register: each lane and its partner `kStep` lanes away become their sum and their difference.
template <int kStep>
Floats spread_lanes(Floats x) {
  Floats partners, signs;
  for (int lane = 0; lane < kLanes; ++lane) {
    partners[lane] = x[lane ^ kStep];
    signs[lane] = lane & kStep ? -1.0f : 1.0f;
  }
  return multiply_add(x, signs, partners);
}

}  // namespace

void spread(float* row, int count, int size) {
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

void spread_weights(float* row, int count, int size) {
  if (size == 1) return;
  spread(row, count, size);
  for (int i = 0; i < count; ++i) row[i] /= (float)size;
}

int spread_size_of(int count) {
  const int power = std::min(count & -count, kMostSpread);
  return power >= kLanes ? power : 1;
}

}  // namespace mainspring
