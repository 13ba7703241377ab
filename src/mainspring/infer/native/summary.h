// What is said of one row of scores, before any wish changes it.
#pragma once

#include <cstdint>

namespace mainspring {

struct Summary {
  int32_t best;  // the lowest id among those of the greatest score
  double log_sum, entropy;
};

Summary summarize(const float* scores, int count);

}  // namespace mainspring
