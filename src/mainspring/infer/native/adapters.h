// Low-rank factors beside linears (arXiv:2106.09685): what they add to a row is computed for that row alone.
#pragma once

#include <algorithm>
#include <vector>

#include "matrix.h"

namespace mainspring {

// Factors of one linear, scaled, both padded with zeros: `down` is rank x inputs, `up` is rank x outputs, in the
// order of the packed matrix's outputs.
struct Factors {
  // Beside `matrix`; `down` as it was trained, `up` padded to whole blocks of outputs.
  Factors(int rank, const Matrix& matrix, const float* from_down, const float* from_up)
      : rank(rank), inputs(matrix.padded_inputs()), outputs(matrix.padded_outputs()),
        down((size_t)rank * inputs), up(from_up, from_up + (size_t)rank * outputs) {
    for (int i = 0; i < rank; ++i) {
      float* row = &down[(size_t)i * inputs];
      std::copy_n(from_down + (size_t)i * matrix.inputs, matrix.inputs, row);
      spread_weights(row, matrix.inputs, matrix.spread_size);
    }
  }

  void apply(const float* row, float* delta) const {
    std::fill_n(delta, outputs, 0.0f);
    for (int i = 0; i < rank; ++i) {
      const float *from = &down[(size_t)i * inputs], *to = &up[(size_t)i * outputs];
      Floats products = {};
      for (int input = 0; input < inputs; input += kLanes) {
        products = multiply_add(load(row + input), load(from + input), products);
      }
      const Floats inner = all(sum(products));
      for (int column = 0; column < outputs; column += kLanes) {
        store(delta + column, multiply_add(inner, load(to + column), load(delta + column)));
      }
    }
  }

  int rank, inputs, outputs;
  std::vector<float> down, up;
};

}  // namespace mainspring
