// What is said of one row of scores, before any wish changes it.
#pragma once

#include <cmath>
#include <cstdint>

#include "lanes.h"

namespace mainspring {

constexpr float kFar = 200.0f;  // e^-200 is nothing in a float, and nothing times 200 is nothing, not so for infinity

using Doubles = double __attribute__((vector_size(8 * kLanes)));

inline Doubles wide(Floats lanes) { return __builtin_convertvector(lanes, Doubles); }

inline double sum(Doubles lanes) {
  double total = 0.0;
  for (int lane = 0; lane < kLanes; ++lane) total += lanes[lane];
  return total;
}

// Shared with structs.py.
struct Summary {
  int32_t best;  // the lowest id among those of the greatest score
  double log_sum, entropy;
};

inline Summary summarize(const float* scores, int count) {
  Floats most = all(-INFINITY), rest = most;
  const int whole = count / kLanes * kLanes;
  for (int i = 0; i < whole; i += kLanes) most = largest(load(scores + i), most);
  for (int i = whole; i < count; ++i) rest[i - whole] = scores[i];
  const float greatest = largest(largest(rest, most));
  Summary found{};
  while (found.best < count - 1 && scores[found.best] != greatest) ++found.best;
  Doubles totals = {}, weighted = {};
  Floats broken = {};  // stays nothing while all scores are numbers
  const auto add = [&](Floats lanes) {
    const Floats far = smallest(greatest - lanes, all(kFar));
    const Floats weights = exp(-far);
    totals += wide(weights);
    weighted += wide(weights * far);
    broken += lanes == lanes ? Floats{} : lanes;
  };
  for (int i = 0; i < whole; i += kLanes) add(load(scores + i));
  if (whole < count) add(rest);
  const double total = sum(totals), log_total = std::log(total);
  found.log_sum = greatest + log_total + sum(broken);
  found.entropy = log_total + sum(weighted) / total;
  return found;
}

}  // namespace mainspring
