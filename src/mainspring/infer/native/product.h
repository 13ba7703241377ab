// Rows times a matrix: sums of whole numbers, exact in any order, then one fixed row of operations on floats.
// A row's results do not depend on what stands beside it.
#pragma once

#include "matrix.h"
#include "threads.h"

namespace mainspring {

enum class Activation : int { silu = 0, gelu_tanh = 1, relu = 2 };

// What becomes of a product. `gated` halves the columns: of a block's outputs the first 16 are gates.
enum class Use { keep, add, gate };

struct Target {
  float* values;
  int stride;  // from one row to the next
  int columns;  // how many may be written
  Use use = Use::keep;
  Activation activation = Activation::silu;
  const float* const* deltas = nullptr;  // for every row what an adapter adds, or null
};

void multiply(const Matrix& matrix, const QuantizedRows& rows, int count, const Target& target, Threads& threads);

}  // namespace mainspring
