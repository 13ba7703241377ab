#include "adapters.h"

#include "lanes.h"
#include "memory.h"

namespace mainspring {

Factors::Factors(int rank, int inputs, int outputs, const float* from_down, const float* from_up)
    : rank(rank), inputs(round_up(inputs, kLanes)), outputs(outputs), up(from_up, from_up + (size_t)rank * outputs) {
  down.resize((size_t)rank * this->inputs);
  for (int i = 0; i < rank; ++i) {
    std::memcpy(&down[(size_t)i * this->inputs], from_down + (size_t)i * inputs, inputs * sizeof(float));
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
