// What is done to one row of numbers at a time: normalizing it and turning its heads.
#pragma once

#include <vector>

namespace mainspring {

// RMS norm (arXiv:1910.07467) of `count` numbers; both rows are padded with zeros to whole registers.
struct Norm {
  std::vector<float> weights;  // padded with zeros
  float eps = 0.0f;

  void apply(const float* from, float* to, int count) const;
  // The same where other numbers follow instead of zeros; nothing where there is no norm.
  void apply_within(float* numbers, int count) const;
};

// Cosines and sines of one position for every rotated pair (arXiv:2104.09864, eq. 34).
struct Rope {
  std::vector<float> frequencies;
  float amplitude = 1.0f;

  int pairs() const { return (int)frequencies.size(); }
  void turn(int position, float* cos, float* sin) const;
};

// Turns the pairs (i, i + pairs) of a head.
void rotate(float* head, const float* cos, const float* sin, int pairs);

// Multiplies every `size` numbers (a power of two, 16 or more) with Sylvester's matrix of that size, unscaled: the
// fast Walsh-Hadamard transform. `spread_weights` divides by `size`, for what such rows are multiplied with.
void spread(float* row, int count, int size);
void spread_weights(float* row, int count, int size);

// The power of two that rows of so many numbers are spread by; 1: they are not.
int spread_size_of(int count);

}  // namespace mainspring
