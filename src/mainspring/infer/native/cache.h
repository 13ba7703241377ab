// Keys and values of one layer, in pages.
//
// A cell holds 16 tokens of one key-value head: the keys number by number (16 tokens side by side, so that a
// register holds one number of 16 keys), then the values token by token, padded to whole registers. Numbers
// are the upper halves of floats, or bytes with one such half as the scale of each key and each value.
#pragma once

#include <algorithm>
#include <cmath>

#include "lanes.h"
#include "memory.h"

namespace mainspring {

constexpr int kCellTokens = kLanes;

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

// Bytes of `count` numbers, `step` apart, and the scale that was rounded before they were divided by it.
inline Half put_bytes(int8_t* to, int step, const float* values, int count) {
  float most = 0.0f;
  for (int i = 0; i < count; ++i) most = std::max(most, std::fabs(values[i]));
  const Half half = to_half(most / 127.0f);
  const float scale = from_half(half), inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  for (int i = 0; i < count; ++i) {
    const float bounded = std::min(std::max(-127.0f, values[i] * inverse), 127.0f);
    to[i * step] = (int8_t)std::nearbyintf(bounded);
  }
  return half;
}

struct Cache {
  Cache() = default;
  Cache(int num_slots, int num_heads, int head_size, bool in_bytes)
      : num_heads(num_heads), head_size(head_size), padded_size(round_up(head_size, kLanes)), in_bytes(in_bytes) {
    cell_bytes = in_bytes ? Cell<int8_t>::size(head_size, padded_size) : Cell<Half>::size(head_size, padded_size);
    bytes = Array<uint8_t>((size_t)num_slots / kCellTokens * num_heads * cell_bytes);
  }

  template <class Number>
  Cell<Number> cell(int slot, int head) const {
    const size_t index = (size_t)(slot / kCellTokens) * num_heads + head;
    return {bytes.data() + index * cell_bytes, head_size, padded_size};
  }

  void put(int slot, int head, const float* key, const float* value) const {
    const int place = slot % kCellTokens;
    if (in_bytes) {
      const auto into = cell<int8_t>(slot, head);
      into.key_scales()[place] = put_bytes(into.keys() + place, kCellTokens, key, head_size);
      into.value_scales()[place] = put_bytes(into.values() + place * padded_size, 1, value, head_size);
      return;
    }
    const auto into = cell<Half>(slot, head);
    Half *keys = into.keys() + place, *values = into.values() + place * padded_size;
    for (int i = 0; i < head_size; ++i) keys[i * kCellTokens] = to_half(key[i]);
    for (int i = 0; i < head_size; ++i) values[i] = to_half(value[i]);
  }

  void copy(int source_slot, int target_slot, int num_slots) const {
    const size_t size_bytes = num_slots / kCellTokens * num_heads * cell_bytes;
    std::memcpy(cell<Half>(target_slot, 0).base, cell<Half>(source_slot, 0).base, size_bytes);
  }

  int num_heads = 0, head_size = 0, padded_size = 0;
  bool in_bytes = false;
  size_t cell_bytes = 0;
  Array<uint8_t> bytes;
};

}  // namespace mainspring
