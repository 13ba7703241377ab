// Keys and values of one layer, in pages.
//
// A cell holds 16 tokens of one key-value head: the keys number by number (16 tokens side by side, so that a
// register holds one number of 16 keys), then the values token by token, padded to whole registers. Numbers
// are the upper halves of floats, or bytes with one such half as the scale of each key and each value.
#pragma once

#include "lanes.h"
#include "memory.h"

namespace mainspring {

constexpr int kCellTokens = kLanes;

struct Cache {
  Cache() = default;
  Cache(int num_slots, int num_heads, int head_size, bool in_bytes);

  uint8_t* cell(int slot, int head) const {
    return bytes.data() + ((size_t)(slot / kCellTokens) * num_heads + head) * cell_bytes;
  }
  void put(int slot, int head, const float* key, const float* value) const;
  void copy(int source_slot, int target_slot, int num_slots) const;

  int num_heads = 0, head_size = 0, padded_size = 0;
  bool in_bytes = false;
  size_t cell_bytes = 0;
  Array<uint8_t> bytes;
};

// A cell of either kind of number. Bytes have scales behind them, first the keys' and then the values'.
template <class Number>
struct Cell {
  static constexpr bool kIsScaled = sizeof(Number) == 1;
  uint8_t* base;
  int head_size, padded_size;

  static size_t size(int head_size, int padded_size) {
    return kCellTokens * ((head_size + padded_size) * sizeof(Number) + (kIsScaled ? 2 * sizeof(Half) : 0));
  }
  Number* keys() const { return reinterpret_cast<Number*>(base); }
  Number* values() const { return keys() + kCellTokens * head_size; }
  Half* key_scales() const { return reinterpret_cast<Half*>(values() + kCellTokens * padded_size); }
  Half* value_scales() const { return key_scales() + kCellTokens; }
};

}  // namespace mainspring
