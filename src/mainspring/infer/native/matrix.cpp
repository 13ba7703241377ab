#include "matrix.h"

#include <algorithm>
#include <cmath>

#include "rows.h"

namespace mainspring {
namespace {

float largest_of_row(const float* values, int count) {
  Floats most = {};
  for (int i = 0; i < count; i += kLanes) most = largest(magnitude(load(values + i)), most);
  return largest(most);
}

// Whole numbers of 127 for the magnitude `most`; returns their sum.
int32_t to_bytes(const float* values, int count, float most, int8_t* to) {
  const float inverse = most > 0.0f ? 127.0f / most : 0.0f;
  Ints sums = {};
  for (int i = 0; i < count; i += kLanes) {
    const Floats scaled = load(values + i) * inverse;
    const Ints whole = to_nearest(smallest(largest(scaled, all(-127.0f)), all(127.0f)));
    sums += whole;
    using Bytes = int8_t __attribute__((vector_size(16)));
    const Bytes narrow = __builtin_convertvector(whole, Bytes);
    std::memcpy(to + i, &narrow, sizeof narrow);
  }
  int32_t total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += sums[lane];
  return total;
}

int rounded(float value, int lowest, int highest) {
  return std::min(std::max((int)std::nearbyintf(value), lowest), highest);
}

// Rows here are padded with zeros.
// The magnitude that 127 stands for so that the row loses least: a little less than its largest is often better.
float best_reach(const float* row, int count) {
  const float most = largest_of_row(row, count);
  float best = most, least = INFINITY;
  for (int step = 0; step < 8; ++step) {
    const float reach = most * (1.0f - 0.03f * step), scale = reach / 127.0f, inverse = 127.0f / reach;
    Floats errors = {};
    for (int i = 0; i < count; i += kLanes) {
      const Floats values = load(row + i);
      const Floats bounded = smallest(largest(values * inverse, all(-127.0f)), all(127.0f));
      const Floats off = to_floats(to_nearest(bounded)) * scale - values;
      errors = multiply_add(off, off, errors);
    }
    const float error = sum(errors);
    if (error < least) least = error, best = reach;
  }
  return best;
}

void pack_row_8(Matrix& matrix, const float* row, int output) {
  const float reach = best_reach(row, matrix.inputs);
  const float inverse = reach > 0.0f ? 127.0f / reach : 0.0f;
  matrix.scales[output] = reach / 127.0f;
  uint8_t* to = matrix.bytes.data() + output / kBlock * matrix.block_bytes() + output % kBlock * 4;
  for (int input = 0; input < matrix.inputs; ++input) {
    to[input / 4 * (kBlock * 4) + input % 4] = (uint8_t)(rounded(row[input] * inverse, -127, 127) + kOffset);
  }
}

struct Group {
  float scale, smallest;
};

float error_of(const float* values, int count, Group group) {
  float error = 0.0f;
  for (int i = 0; i < count; ++i) {
    const int half = rounded((values[i] - group.smallest) / group.scale, 0, 15);
    const float off = half * group.scale + group.smallest - values[i];
    error += off * off;
  }
  return error;
}

// The range whose 16 steps come nearest to the values: a little less than all of it is often better.
Group best_group(const float* values, int count) {
  const auto [low, high] = std::minmax_element(values, values + count);
  Group best{1.0f, 0.0f};
  float least = INFINITY;
  for (int step = 0; step < 8; ++step) {
    const float kept = 1.0f - 0.04f * step;
    const float middle = (*low + *high) / 2, reach = (*high - *low) / 2 * kept;
    Group group{from_half(to_half(reach / 7.5f)), from_half(to_half(middle - reach))};
    if (group.scale <= 0.0f) group.scale = 1.0f;
    const float error = error_of(values, count, group);
    if (error < least) least = error, best = group;
  }
  return best;
}

void pack_row_4(Matrix& matrix, const float* row, int output) {
  uint8_t* block = matrix.bytes.data() + output / kBlock * matrix.block_bytes();
  const int place = output % kBlock;
  for (int start = 0; start < matrix.inputs; start += kBlock, block += kGroupStride) {
    const int count = std::min(kBlock, matrix.inputs - start);
    const Group group = best_group(row + start, count);
    Half* halves = reinterpret_cast<Half*>(block + kGroupBytes);
    halves[place] = to_half(group.scale);
    halves[kBlock + place] = to_half(group.smallest);
    for (int i = 0; i < count; ++i) {
      const int half = rounded((row[start + i] - group.smallest) / group.scale, 0, 15);
      block[i / 8 * (kBlock * 4) + place * 4 + i % 4] |= (uint8_t)(i % 8 < 4 ? half : half << 4);
    }
  }
}

}  // namespace

Matrix::Matrix(const float* weights, const float* bias, int outputs, int inputs, int bits, Threads& threads)
    : outputs(outputs), inputs(inputs), bits(bits), bytes(blocks() * block_bytes()) {
  if (bits == 8) {
    std::fill_n(bytes.data(), bytes.size(), (uint8_t)kOffset);
    scales.assign(padded_outputs(), 0.0f);
    spread_size = spread_size_of(inputs);
  }
  threads.run(blocks(), [&](int block, int) {
    std::vector<float> row(padded_inputs());
    for (int output = block * kBlock; output < std::min(outputs, (block + 1) * kBlock); ++output) {
      std::copy_n(weights + (size_t)output * inputs, inputs, row.data());
      spread_weights(row.data(), inputs, spread_size);
      bits == 8 ? pack_row_8(*this, row.data(), output) : pack_row_4(*this, row.data(), output);
    }
  });
  if (bias != nullptr) {
    biases.assign(bias, bias + outputs);
    biases.resize(padded_outputs());
  }
}

void QuantizedRows::reserve(int rows, int widest) {
  width = round_up(widest, kBlock);
  bytes = Array<int8_t>((size_t)rows * width);
  group_scales = Array<float>((size_t)rows * (width / kBlock));
  group_sums = Array<float>((size_t)rows * (width / kBlock));
  totals = Array<int32_t>(rows);
  scales = Array<float>(rows);
}

void QuantizedRows::set(int index, const float* values, int count, bool in_groups) const {
  int8_t* to = row(index);
  if (!in_groups) {
    const float most = largest_of_row(values, count);
    scales[index] = most / 127.0f;
    totals[index] = to_bytes(values, count, most, to);
    std::fill(to + round_up(count, kLanes), to + width, (int8_t)0);
    return;
  }
  scales[index] = 1.0f;
  for (int group = 0; group * kBlock < width; ++group) {
    const int start = group * kBlock, size = std::min(kBlock, count - start);
    const float most = largest_of_row(values + start, size);
    if (size < kBlock) std::fill_n(to + start, kBlock, (int8_t)0);
    group_scales_of(index)[group] = most / 127.0f;
    group_sums_of(index)[group] = (float)to_bytes(values + start, size, most, to + start) * (most / 127.0f);
  }
}

Table::Table(const float* values, int rows, int width) : width(width), halves((size_t)rows * width) {
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = to_half(values[i]);
}

void Table::read(int row, float factor, float* into) const {
  const Half* from = halves.data() + (size_t)row * width;
  for (int i = 0; i < width; ++i) into[i] = from_half(from[i]) * factor;
  std::fill(into + width, into + round_up(width, kBlock), 0.0f);
}

}  // namespace mainspring
