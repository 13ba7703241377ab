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

// How attention reads a cell, for either kind of number.
struct HalvesCell {
  const uint8_t* base;
  int head_size, padded_size;

  static size_t size(int head_size, int padded_size) {
    return (size_t)kCellTokens * (head_size + padded_size) * sizeof(Half);
  }
  const Half* keys() const { return reinterpret_cast<const Half*>(base); }
  const Half* values() const { return keys() + kCellTokens * head_size; }
  Floats key_scales() const { return all(1.0f); }
  Floats value_scales() const { return all(1.0f); }
  static constexpr bool kIsScaled = false;
};

struct BytesCell {
  const uint8_t* base;
  int head_size, padded_size;

  static size_t size(int head_size, int padded_size) {
    return (size_t)kCellTokens * (head_size + padded_size + 2 * sizeof(Half));
  }
  const int8_t* keys() const { return reinterpret_cast<const int8_t*>(base); }
  const int8_t* values() const { return keys() + kCellTokens * head_size; }
  const Half* scales() const { return reinterpret_cast<const Half*>(values() + kCellTokens * padded_size); }
  Floats key_scales() const { return load(scales()); }
  Floats value_scales() const { return load(scales() + kCellTokens); }
  static constexpr bool kIsScaled = true;
};

}  // namespace mainspring
