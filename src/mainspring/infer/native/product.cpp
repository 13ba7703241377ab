#include "product.h"

#include <algorithm>

namespace mainspring {
namespace {

#if defined(__AVX512F__)
constexpr int kTallest = 12;  // rows by two registers of sums; 24 of the 32 there are
#else
constexpr int kTallest = 2;
#endif
constexpr int kTallest4 = kTallest / 2;  // 4 bits need as many registers again for sums of groups

int32_t four_bytes(const int8_t* from) {
  int32_t four;
  std::memcpy(&four, from, sizeof four);
  return four;
}

// What a block makes of up to 12 rows, before their scales.
struct Tile {
  Floats values[kTallest][kHalvesOfBlock];
};

struct Input {
  const Matrix& matrix;
  const QuantizedRows& rows;
  int first;  // row
};

template <int kRows>
void multiply_8(const Input& in, int block, Tile& tile) {
  const uint8_t* weights = in.matrix.block(block);
  const int8_t* x = in.rows.row(in.first);
  const int stride = in.rows.width, inputs = in.matrix.padded_inputs();
  Ints sums[kRows][2];
  for (int row = 0; row < kRows; ++row) {
    sums[row][0] = sums[row][1] = all(-kOffset * in.rows.totals[in.first + row]);
  }
  for (int input = 0; input < inputs; input += 4, weights += kBlock * 4) {
    const Ints w0 = load_bytes(weights), w1 = load_bytes(weights + 64);
#pragma GCC unroll 12
    for (int row = 0; row < kRows; ++row) {
      const int32_t four = four_bytes(x + row * stride + input);
      sums[row][0] = add_products(sums[row][0], w0, four);
      sums[row][1] = add_products(sums[row][1], w1, four);
    }
  }
  const float* scales = in.matrix.scales.data() + block * kBlock;
  for (int row = 0; row < kRows; ++row) {
    for (int half = 0; half < 2; ++half) {
      tile.values[row][half] = to_floats(sums[row][half]) * load(scales + half * kLanes);
    }
  }
}

template <int kRows>
void multiply_4(const Input& in, int block, Tile& tile) {
  const uint8_t* weights = in.matrix.block(block);
  const int8_t* x = in.rows.row(in.first);
  const int stride = in.rows.width, groups = in.matrix.padded_inputs() / kBlock;
  Floats values[kRows][2] = {};
  for (int group = 0; group < groups; ++group, weights += kGroupStride, x += kBlock) {
    Ints sums[kRows][2] = {};
    for (int input = 0; input < kBlock; input += 8) {
      for (int half = 0; half < 2; ++half) {
        const Ints both = load_bytes(weights + input * (kBlock / 2) + half * 64);
        const Ints early = both & 0x0f0f0f0f, late = (both >> 4) & 0x0f0f0f0f;
#pragma GCC unroll 6
        for (int row = 0; row < kRows; ++row) {
          const int8_t* from = x + row * stride + input;
          sums[row][half] = add_products(sums[row][half], early, four_bytes(from));
          sums[row][half] = add_products(sums[row][half], late, four_bytes(from + 4));
        }
      }
    }
    const Half* halves = reinterpret_cast<const Half*>(weights + kGroupBytes);
    for (int half = 0; half < 2; ++half) {
      const Floats scale = load(halves + half * kLanes), smallest = load(halves + kBlock + half * kLanes);
#pragma GCC unroll 6
      for (int row = 0; row < kRows; ++row) {
        const Floats products = to_floats(sums[row][half]) * in.rows.group_scales_of(in.first + row)[group];
        const Floats total = all(in.rows.group_sums_of(in.first + row)[group]);
        values[row][half] = multiply_add(total, smallest, values[row][half]);
        values[row][half] = multiply_add(products, scale, values[row][half]);
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int half = 0; half < 2; ++half) tile.values[row][half] = values[row][half];
  }
}

template <int kRows>
void multiply_rows(const Input& in, int num_rows, int block, Tile& tile) {
  if constexpr (kRows > 0) {
    if (num_rows < kRows) return multiply_rows<kRows - 1>(in, num_rows, block, tile);
    if (in.matrix.bits == 8) return multiply_8<kRows>(in, block, tile);
    if constexpr (kRows <= kTallest4) multiply_4<kRows>(in, block, tile);
  }
}

Floats activate(Floats x, Activation activation) {
  switch (activation) {
    case Activation::silu:
      return x / (exp(-x) + 1.0f);
    case Activation::gelu_tanh: {
      const Floats inner = (x + x * x * x * 0.044715f) * 0.7978845608f;
      return x * 0.5f * (tanh(inner) + 1.0f);
    }
    case Activation::relu:
      return largest(x, Floats{});
  }
  return x;
}

void store_some(float* to, Floats lanes, int count) {
  if (count >= kLanes) return store(to, lanes);
  for (int lane = 0; lane < count; ++lane) to[lane] = lanes[lane];
}

void finish(const Input& in, int num_rows, int block, Tile& tile, const Target& target) {
  const Matrix& matrix = in.matrix;
  for (int i = 0; i < num_rows; ++i) {
    const int row = in.first + i;
    const float* delta = target.deltas == nullptr ? nullptr : target.deltas[row];
    Floats* values = tile.values[i];
    for (int half = 0; half < 2; ++half) {
      const int column = block * kBlock + half * kLanes;
      values[half] = values[half] * in.rows.scales[row];
      if (!matrix.biases.empty()) values[half] += load(matrix.biases.data() + column);
      if (delta != nullptr) values[half] += load(delta + column);
    }
    float* to = target.values + (size_t)row * target.stride;
    if (target.use == Use::gate) {
      store(to + block * kLanes, activate(values[0], target.activation) * values[1]);
      continue;
    }
    for (int half = 0; half < 2; ++half) {
      const int column = block * kBlock + half * kLanes;
      if (target.use == Use::add) values[half] += load(to + column);
      store_some(to + column, values[half], target.columns - column);
    }
  }
}

}  // namespace

void multiply(const Matrix& matrix, const QuantizedRows& rows, int count, const Target& target, Threads& threads) {
  const int tallest = matrix.bits == 8 ? kTallest : kTallest4;
  const int tiles = (count + tallest - 1) / tallest;
  // Few rows are soon done, so a part is several blocks; with many rows it is one.
  const int blocks = matrix.blocks();
  const int step = std::max(1, std::min(blocks / (threads.count() * 4), 64 / count));
  threads.run((blocks + step - 1) / step, [&](int part, int) {
    Tile tile;
    for (int block = part * step; block < std::min(blocks, (part + 1) * step); ++block) {
      for (int index = 0; index < tiles; ++index) {
        const int first = count * index / tiles, end = count * (index + 1) / tiles;
        const Input in{matrix, rows, first};
        multiply_rows<kTallest>(in, end - first, block, tile);
        finish(in, end - first, block, tile, target);
      }
    }
  });
}

}  // namespace mainspring
