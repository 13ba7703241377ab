#include <cmath>

#include "model.h"

namespace mainspring {

void choose(const float* scores, int count, int32_t* best, double* log_sum) {
  Floats most = all(-INFINITY);
  const int whole = count / kLanes * kLanes;
  for (int i = 0; i < whole; i += kLanes) most = largest(load(scores + i), most);
  float greatest = largest(most);
  for (int i = whole; i < count; ++i) greatest = scores[i] > greatest ? scores[i] : greatest;
  *best = 0;
  for (int i = 0; i < count; ++i) {
    if (scores[i] == greatest) {
      *best = i;
      break;
    }
  }
  using Doubles = double __attribute__((vector_size(8 * kLanes)));
  Doubles totals = {};
  for (int i = 0; i < whole; i += kLanes) totals += __builtin_convertvector(exp(load(scores + i) - greatest), Doubles);
  double total = 0.0;
  for (int lane = 0; lane < kLanes; ++lane) total += totals[lane];
  for (int i = whole; i < count; ++i) total += exp(all(scores[i] - greatest))[0];
  *log_sum = greatest + std::log(total);
}

}  // namespace mainspring
