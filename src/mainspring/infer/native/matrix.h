// A linear's weights in 8 or 4 bits, laid out as the kernels read them, and the rows that they are multiplied with.
//
// A few channels of a decoder are tens of times larger than the others and would leave little of a row's one scale
// to the rest. So rows are spread before they go into 8 bits, and the weights' inputs likewise: (x H)(W H)^T =
// x W^T for an orthogonal H. Paper: arXiv:2404.00456 (QuaRot), section 4; it turns the residual stream as a whole
// as well, inside the weights, and folds the norms' weights into linears for it, which measured here loses more than
// it saves. Weights of 4 bits stay in their own basis: many published ones were rounded by groups of 32 inputs
// before, which would be lost; their rows have a scale for every group instead.
//
// Blocks of 32 outputs stand one behind the other. Within a block the inputs go by fours: for each four, 16
// outputs by 4 inputs fill one register of bytes, twice.
//
//   8 bits: the byte is the weight + 128; an output has one scale.
//   4 bits: a byte holds two weights, the low half four inputs earlier; an output has a scale and a smallest
//           value for every 32 inputs, which stand behind them: weight = half * scale + smallest.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "lanes.h"
#include "memory.h"
#include "rows.h"
#include "threads.h"

namespace mainspring {

// A block has kBlock outputs; as many inputs are a group that shares scales in 4 bits.
constexpr int kGroupBytes = kBlock * kBlock / 2;
constexpr int kGroupStride = kGroupBytes + 2 * kBlock * (int)sizeof(Half);
constexpr int kOffset = 128;

// Rows here are padded with zeros.
inline float largest_of_row(const float* values, int count) {
  Floats most = {};
  for (int i = 0; i < count; i += kLanes) most = largest(magnitude(load(values + i)), most);
  return largest(most);
}

// Whole numbers of 127 for the magnitude `most`; returns their sum.
inline int32_t to_bytes(const float* values, int count, float most, int8_t* to) {
  const float inverse = most > 0.0f ? 127.0f / most : 0.0f;
  Ints sums = {};
  for (int i = 0; i < count; i += kLanes) {
    const Floats scaled = load(values + i) * inverse;
    const Ints whole = to_nearest(smallest(largest(scaled, all(-127.0f)), all(127.0f)));
    sums += whole;
    store(to + i, __builtin_convertvector(whole, Bytes));
  }
  int32_t total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += sums[lane];
  return total;
}

// The magnitude that 127 stands for so that the row loses least: a little less than its largest is often better.
// Leaves a trial in `bytes`.
inline float best_reach(const float* row, int count, int8_t* bytes) {
  const float most = largest_of_row(row, count);
  float best = most, least = INFINITY;
  for (int step = 0; step < 8; ++step) {
    const float reach = most * (1.0f - 0.03f * step), scale = reach / 127.0f;
    to_bytes(row, count, reach, bytes);
    Floats errors = {};
    for (int i = 0; i < count; i += kLanes) {
      const Floats off = load(bytes + i) * scale - load(row + i);
      errors = multiply_add(off, off, errors);
    }
    const float error = sum(errors);
    if (error < least) least = error, best = reach;
  }
  return best;
}

// Sixteen steps that numbers of 4 bits count.
struct Steps {
  float scale, smallest;

  int nearest(float value) const { return std::clamp((int)std::nearbyintf((value - smallest) / scale), 0, 15); }

  float error_of(const float* values, int count) const {
    float error = 0.0f;
    for (int i = 0; i < count; ++i) {
      const float off = nearest(values[i]) * scale + smallest - values[i];
      error += off * off;
    }
    return error;
  }
};

// Those that come nearest to the values: a range a little less than all of theirs is often better.
inline Steps best_steps(const float* values, int count) {
  const auto [low, high] = std::minmax_element(values, values + count);
  Steps best{1.0f, 0.0f};
  float least = INFINITY;
  for (int step = 0; step < 8; ++step) {
    const float middle = (*low + *high) / 2, reach = (*high - *low) / 2 * (1.0f - 0.04f * step);
    Steps steps{from_half(to_half(reach / 7.5f)), from_half(to_half(middle - reach))};
    if (steps.scale <= 0.0f) steps.scale = 1.0f;
    const float error = steps.error_of(values, count);
    if (error < least) least = error, best = steps;
  }
  return best;
}

struct Matrix {
  Matrix() = default;

  // `weights` are row after row of `inputs` numbers; `bias` may be null.
  Matrix(const float* weights, const float* bias, int outputs, int inputs, int bits, Threads& threads)
      : outputs(outputs), inputs(inputs), bits(bits), bytes(blocks() * block_bytes()) {
    if (bits == 8) {
      std::fill_n(bytes.data(), bytes.size(), (uint8_t)kOffset);
      scales.assign(padded_outputs(), 0.0f);
      spread_size = spread_size_of(inputs);
    }
    threads.run(blocks(), [&](int block) {
      std::vector<float> row(padded_inputs());
      for (int output = block * kBlock; output < std::min(outputs, (block + 1) * kBlock); ++output) {
        std::copy_n(weights + (size_t)output * inputs, inputs, row.data());
        spread_weights(row.data(), inputs, spread_size);
        bits == 8 ? pack_row_8(row.data(), output) : pack_row_4(row.data(), output);
      }
    });
    if (bias != nullptr) {
      biases.assign(bias, bias + outputs);
      biases.resize(padded_outputs());
    }
  }

  int blocks() const { return padded_outputs() / kBlock; }
  int padded_outputs() const { return round_up(outputs, kBlock); }
  int padded_inputs() const { return round_up(inputs, kBlock); }
  uint8_t* block(int index) const { return bytes.data() + index * block_bytes(); }
  size_t block_bytes() const {
    return bits == 8 ? (size_t)padded_inputs() * kBlock : (size_t)padded_inputs() / kBlock * kGroupStride;
  }

  void pack_row_8(const float* row, int output) {
    std::vector<int8_t> packed(padded_inputs());
    const float reach = best_reach(row, inputs, packed.data());
    to_bytes(row, inputs, reach, packed.data());
    scales[output] = reach / 127.0f;
    uint8_t* to = block(output / kBlock) + output % kBlock * 4;
    for (int input = 0; input < inputs; ++input) {
      to[input / 4 * (kBlock * 4) + input % 4] = (uint8_t)(packed[input] + kOffset);
    }
  }

  void pack_row_4(const float* row, int output) {
    uint8_t* to = block(output / kBlock);
    const int place = output % kBlock;
    for (int start = 0; start < inputs; start += kBlock, to += kGroupStride) {
      const int count = std::min(kBlock, inputs - start);
      const Steps steps = best_steps(row + start, count);
      Half* halves = reinterpret_cast<Half*>(to + kGroupBytes);
      halves[place] = to_half(steps.scale);
      halves[kBlock + place] = to_half(steps.smallest);
      for (int i = 0; i < count; ++i) {
        const int nearest = steps.nearest(row[start + i]);
        to[i / 8 * (kBlock * 4) + place * 4 + i % 4] |= (uint8_t)(i % 8 < 4 ? nearest : nearest << 4);
      }
    }
  }

  int outputs = 0, inputs = 0, bits = 8;
  int spread_size = 1;  // how many neighbors of a row are spread together before it meets the weights
  Array<uint8_t> bytes;
  std::vector<float> scales, biases;  // of every output, padded; scales in 8 bits alone
};

// What is known of bytes that share a scale; in groups of 32 numbers `sum` is theirs times the scale, else theirs.
struct ByteGroup {
  float scale, sum;
};

// Rows of signed bytes: what a token's numbers become before they meet a matrix. A row is one group, which goes
// with 8-bit weights, or has one for every 32 numbers, which goes with 4-bit ones.
struct QuantizedRows {
  QuantizedRows() = default;
  QuantizedRows(size_t count, int widest)
      : bytes(count, round_up(widest, kBlock)), groups(count, bytes.width / kBlock), deltas(count) {}

  // From now on rows are narrower, and nearer to each other.
  void set_width(int width) { bytes.width = width, groups.width = width / kBlock; }

  // The largest magnitude becomes 127; ties go to even. `count` numbers, zeros behind them up to a multiple of 16.
  void set(int index, const float* values, int count, bool in_groups) const {
    const int size = in_groups ? kBlock : bytes.width;
    for (int start = 0; start < bytes.width; start += size) {
      int8_t* to = bytes[index] + start;
      const int filled = std::min(size, count - start);
      const float most = largest_of_row(values + start, filled), scale = most / 127.0f;
      const float sum = (float)to_bytes(values + start, filled, most, to);  // exact below 132,000 numbers
      std::fill(to + round_up(filled, kLanes), to + size, (int8_t)0);
      groups[index][start / size] = {scale, in_groups ? sum * scale : sum};
    }
  }

  Rows<int8_t> bytes;
  Rows<ByteGroup> groups;
  std::vector<const float*> deltas;  // of every row: what an adapter adds to its products, or null
};

// An embedding's rows: only a few are read in a step, so they need not be small.
struct Table {
  Table() = default;
  Table(const float* values, int count, int width) : rows(count, width) {
    for (size_t i = 0; i < rows.numbers.size(); ++i) rows.numbers.data()[i] = to_half(values[i]);
  }

  // Zeros follow up to a whole block.
  void read(int row, float factor, float* into) const {
    for (int i = 0; i < rows.width; ++i) into[i] = from_half(rows[row][i]) * factor;
    std::fill(into + rows.width, into + round_up(rows.width, kBlock), 0.0f);
  }

  Rows<Half> rows;
};

}  // namespace mainspring
