// Rows times a matrix: sums of whole numbers, exact in any order, then one fixed row of operations on floats.
// A row's results do not depend on what stands beside it.
#pragma once

#include <algorithm>

#include "matrix.h"
#include "threads.h"

namespace mainspring {

#if defined(__AVX512F__)
constexpr int kTileRows = 12;  // by two registers of sums; 24 of the 32 there are
#else
constexpr int kTileRows = 2;
#endif
constexpr int kTileRows4 = kTileRows / 2;  // 4 bits need as many registers again for sums of groups

enum class Activation : int { silu = 0, gelu_tanh = 1, relu = 2 };

// What becomes of a product. `gate` halves the columns: of a block's outputs the first 16 are gates.
enum class Use { keep, add, gate };

struct Target {
  float* values;
  int stride;  // from one row to the next, and how many columns may be written
  Use use = Use::keep;
  Activation activation = Activation::silu;
  float softcap = 0.0f;  // 0: none
};

inline Floats activate(Floats x, Activation activation) {
  if (activation == Activation::silu) return x / (exp(-x) + 1.0f);
  if (activation == Activation::relu) return largest(x, Floats{});
  const Floats inner = (x + x * x * x * 0.044715f) * 0.7978845608f;
  return x * 0.5f * (tanh(inner) + 1.0f);
}

// A product on its way, a tile of a block by a few rows after the other.
struct Product {
  const Matrix& matrix;
  const QuantizedRows& rows;
  const Target& target;

  template <int kRows>
  void multiply_8(int block, int first) const {
    const uint8_t* weights = matrix.block(block);
    const int8_t* x = rows.bytes[first];
    const int stride = rows.bytes.width, inputs = matrix.padded_inputs();
    Ints sums[kRows][2];
    for (int row = 0; row < kRows; ++row) {
      sums[row][0] = sums[row][1] = all(-kOffset * (int32_t)rows.groups[first + row]->sum);
    }
    for (int input = 0; input < inputs; input += 4, weights += kBlock * 4) {
      const Ints w0 = read_as<Ints>(weights), w1 = read_as<Ints>(weights + 64);
#pragma GCC unroll 12
      for (int row = 0; row < kRows; ++row) {
        const int32_t four = read_as<int32_t>(x + row * stride + input);
        sums[row][0] = add_products(sums[row][0], w0, four);
        sums[row][1] = add_products(sums[row][1], w1, four);
      }
    }
    const float* scales = matrix.scales.data() + block * kBlock;
    for (int row = 0; row < kRows; ++row) {
      const float scale = rows.groups[first + row]->scale;
      const Floats left = to_floats(sums[row][0]) * load(scales) * scale;
      const Floats right = to_floats(sums[row][1]) * load(scales + kLanes) * scale;
      finish(block, first + row, left, right);
    }
  }

  template <int kRows>
  void multiply_4(int block, int first) const {
    const uint8_t* weights = matrix.block(block);
    const int8_t* x = rows.bytes[first];
    const int stride = rows.bytes.width, num_groups = rows.groups.width;
    const ByteGroup* groups = rows.groups[first];
    Floats values[kRows][2] = {};
    for (int group = 0; group < num_groups; ++group, weights += kGroupStride, x += kBlock, ++groups) {
      Ints sums[kRows][2] = {};
      for (int input = 0; input < kBlock; input += 8) {
        for (int half = 0; half < 2; ++half) {
          const Ints both = read_as<Ints>(weights + input * (kBlock / 2) + half * 64);
          const Ints early = both & 0x0f0f0f0f, late = (both >> 4) & 0x0f0f0f0f;
#pragma GCC unroll 6
          for (int row = 0; row < kRows; ++row) {
            const int8_t* from = x + row * stride + input;
            sums[row][half] = add_products(sums[row][half], early, read_as<int32_t>(from));
            sums[row][half] = add_products(sums[row][half], late, read_as<int32_t>(from + 4));
          }
        }
      }
      const Half* halves = reinterpret_cast<const Half*>(weights + kGroupBytes);
      for (int half = 0; half < 2; ++half) {
        const Floats scale = load(halves + half * kLanes), smallest = load(halves + kBlock + half * kLanes);
#pragma GCC unroll 6
        for (int row = 0; row < kRows; ++row) {
          const ByteGroup& of_row = groups[row * num_groups];
          const Floats products = to_floats(sums[row][half]) * of_row.scale;
          values[row][half] = multiply_add(all(of_row.sum), smallest, values[row][half]);
          values[row][half] = multiply_add(products, scale, values[row][half]);
        }
      }
    }
    for (int row = 0; row < kRows; ++row) finish(block, first + row, values[row][0], values[row][1]);
  }

  // What becomes of a row's 32 outputs.
  void finish(int block, int row, Floats left, Floats right) const {
    Floats values[2] = {left, right};
    float* to = target.values + (size_t)row * target.stride;
    for (int half = 0; half < 2; ++half) {
      const int column = block * kBlock + half * kLanes;
      if (!matrix.biases.empty()) values[half] += load(matrix.biases.data() + column);
      if (rows.deltas[row] != nullptr) values[half] += load(rows.deltas[row] + column);
    }
    if (target.use == Use::gate) return store(to + block * kLanes, activate(values[0], target.activation) * values[1]);
    for (int half = 0; half < 2; ++half) {
      const int column = block * kBlock + half * kLanes, count = std::min(kLanes, target.stride - column);
      if (target.use == Use::add) values[half] += load(to + column);
      values[half] = soft_capped(values[half], target.softcap);
      if (count == kLanes) {
        store(to + column, values[half]);
      } else {
        for (int lane = 0; lane < count; ++lane) to[column + lane] = values[half][lane];
      }
    }
  }
};

inline void multiply(const Matrix& matrix, const QuantizedRows& rows, int count, const Target& target,
                     Threads& threads) {
  const Product product{matrix, rows, target};
  const int most = matrix.bits == 8 ? kTileRows : kTileRows4, tiles = (count + most - 1) / most;
  // Few rows are soon done, so a part is several blocks; with many rows it is one.
  const int blocks = matrix.blocks();
  const int step = std::max(1, std::min(blocks / (threads.count() * 4), 64 / count));
  threads.run((blocks + step - 1) / step, [&](int part) {
    for (int block = part * step; block < std::min(blocks, (part + 1) * step); ++block) {
      for (int tile = 0; tile < tiles; ++tile) {
        const int first = count * tile / tiles, num_rows = count * (tile + 1) / tiles - first;
        if (matrix.bits == 8) {
          with_constant<kTileRows>(num_rows, [&](auto height) { product.multiply_8<height>(block, first); });
        } else {
          with_constant<kTileRows4>(num_rows, [&](auto height) { product.multiply_4<height>(block, first); });
        }
      }
    }
  });
}

}  // namespace mainspring
