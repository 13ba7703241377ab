// A linear's weights in 8 or 4 bits, laid out as the kernels read them.
//
// Blocks of 32 outputs stand one behind the other. Within a block the inputs go by fours: for each four, 16
// outputs by 4 inputs fill one register of bytes, twice.
//
//   8 bits: the byte is the weight + 128; an output has one scale.
//   4 bits: a byte holds two weights, the low half four inputs earlier; an output has a scale and a smallest
//           value for every 32 inputs, which stand behind them: weight = half * scale + smallest.
#pragma once

#include <cstdint>
#include <vector>

#include "lanes.h"
#include "memory.h"

namespace mainspring {

constexpr int kBlock = 32;  // outputs of a block, and inputs of a group that shares scales in 4 bits
constexpr int kHalvesOfBlock = kBlock / kLanes;
constexpr int kGroupBytes = kBlock * kBlock / 2;
constexpr int kGroupStride = kGroupBytes + 2 * kBlock * (int)sizeof(Half);
constexpr int kOffset = 128;

struct Matrix {
  Matrix() = default;
  // `weights` are row after row of `inputs` numbers; `bias` may be null.
  Matrix(const float* weights, const float* bias, int outputs, int inputs, int bits);

  int blocks() const { return round_up(outputs, kBlock) / kBlock; }
  int padded_outputs() const { return round_up(outputs, kBlock); }
  int padded_inputs() const { return round_up(inputs, kBlock); }
  const uint8_t* block(int index) const { return bytes.data() + index * block_bytes(); }
  size_t block_bytes() const {
    return bits == 8 ? (size_t)padded_inputs() * kBlock : (size_t)padded_inputs() / kBlock * kGroupStride;
  }

  int outputs = 0, inputs = 0, bits = 8;
  Array<uint8_t> bytes;
  std::vector<float> scales, biases;  // of every output, padded; scales in 8 bits alone
};

// Rows of signed bytes: what a token's numbers become before they meet a matrix. A row has one scale, which goes
// with 8-bit weights, or one for every group of 32 numbers, which goes with 4-bit ones.
struct QuantizedRows {
  void reserve(int rows, int width);

  int8_t* row(int index) const { return bytes.data() + (size_t)index * width; }
  // Of every group of the row; `sums` are those of its bytes times its scale.
  float* group_scales_of(int index) const { return group_scales.data() + (size_t)index * (width / kBlock); }
  float* group_sums_of(int index) const { return group_sums.data() + (size_t)index * (width / kBlock); }
  // The largest magnitude becomes 127; ties go to even. `count` numbers, zeros behind them up to a multiple of 16.
  void set(int index, const float* values, int count, bool in_groups) const;

  int width = 0;
  Array<int8_t> bytes;
  Array<int32_t> totals;  // sums of a row's bytes
  Array<float> scales, group_scales, group_sums;
};

// An embedding's rows: only a few are read in a step, so they need not be small.
struct Table {
  Table() = default;
  Table(const float* values, int rows, int width);
  // Zeros follow up to a whole block.
  void read(int row, float factor, float* into) const;

  int width = 0;
  Array<Half> halves;
};

}  // namespace mainspring
