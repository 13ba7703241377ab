#include "adapters.h"

#include <algorithm>

#include "rows.h"

namespace mainspring {

Factors::Factors(int rank, const Matrix& matrix, const float* from_down, const float* from_up)
    : rank(rank), inputs(matrix.padded_inputs()), outputs(matrix.padded_outputs()),
      down((size_t)rank * inputs), up(from_up, from_up + (size_t)rank * outputs) {
  for (int i = 0; i < rank; ++i) {
    float* row = &down[(size_t)i * inputs];
    std::copy_n(from_down + (size_t)i * matrix.inputs, matrix.inputs, row);
    spread_weights(row, matrix.inputs, matrix.spread_size);
  }
}

void Factors::apply(const float* row, float* delta) const {
  for (int column = 0; column < outputs; column += kLanes) store(delta + column, Floats{});
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

}  // namespace mainspring
