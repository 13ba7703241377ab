// One product by itself, in the place of api.cpp: rows are spread and go into bytes as in a step.
#include <algorithm>
#include <vector>

#include "product.h"
#include "rows.h"

using namespace mainspring;

extern "C" void mainspring_multiply(const float* weights, int outputs, int inputs, int bits, const float* rows,
                                    int count, float* products) {
  Threads threads(1);
  const Matrix matrix(weights, nullptr, outputs, inputs, bits, threads);
  const QuantizedRows quantized(count, inputs);
  std::vector<float> row(matrix.padded_inputs());
  for (int i = 0; i < count; ++i) {
    std::copy_n(rows + (size_t)i * inputs, inputs, row.data());
    spread(row.data(), inputs, matrix.spread_size);
    quantized.set(i, row.data(), inputs, bits == 4);
  }
  multiply(matrix, quantized, count, {products, outputs}, threads);
}
