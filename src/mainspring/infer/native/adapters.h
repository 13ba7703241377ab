// Low-rank factors beside linears (arXiv:2106.09685): what they add to a row is computed for that row alone.
#pragma once

#include <vector>

#include "matrix.h"

namespace mainspring {

// Factors of one linear, scaled, both padded with zeros: `down` is rank x inputs, `up` is rank x outputs, in the
// order of the packed matrix's outputs.
struct Factors {
  int rank, inputs, outputs;
  std::vector<float> down, up;

  // Beside `matrix`; `down` as it was trained, `up` padded to whole blocks of outputs.
  Factors(int rank, const Matrix& matrix, const float* down, const float* up);
  void apply(const float* row, float* delta) const;
};

}  // namespace mainspring
