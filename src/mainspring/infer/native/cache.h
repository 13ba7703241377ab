// Keys and values of one layer, in pages.
//
// A cell holds 16 tokens of one key-value head: the keys by pairs of numbers (16 tokens side by side, so that a
// register holds two numbers of 16 keys), then the values by pairs of tokens, number by number and padded to whole
// registers. Numbers are the upper halves of floats, or bytes with one such half as the scale of each key and each
// value.
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
  int key_size, padded_size;  // of a key to whole pairs, of a value to whole registers

  static size_t size(int key_size, int padded_size) {
    return kCellTokens * ((key_size + padded_size) * sizeof(Number) + (kIsScaled ? 2 * sizeof(Half) : 0));
  }
  Number* keys() const { return reinterpret_cast<Number*>(base); }
  Number* values() const { return keys() + kCellTokens * key_size; }
  Number* key(int place, int number) const { return keys() + number / 2 * 2 * kCellTokens + place * 2 + number % 2; }
  Number* value(int place, int number) const { return values() + place / 2 * 2 * padded_size + number * 2 + place % 2; }
  Half* key_scales() const { return reinterpret_cast<Half*>(values() + kCellTokens * padded_size); }
  Half* value_scales() const { return key_scales() + kCellTokens; }
};

// Bytes of `count` numbers to where `place` says, and the scale that was rounded before they were divided by it.
template <class Place>
inline Half put_bytes(const float* values, int count, const Place& place) {
  float most = 0.0f;
  for (int i = 0; i < count; ++i) most = std::max(most, std::fabs(values[i]));
  const Half half = to_half(most / 127.0f);
  const float scale = from_half(half), inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  for (int i = 0; i < count; ++i) {
    const float bounded = std::min(std::max(-127.0f, values[i] * inverse), 127.0f);
    *place(i) = (int8_t)std::nearbyintf(bounded);
  }
  return half;
}

struct Cache {
  Cache() = default;
  Cache(int num_slots, int num_heads, int head_size, bool in_bytes)
      : num_heads(num_heads), head_size(head_size), key_size(round_up(head_size, 2)),
        padded_size(round_up(head_size, kLanes)), in_bytes(in_bytes) {
    cell_bytes = in_bytes ? Cell<int8_t>::size(key_size, padded_size) : Cell<Half>::size(key_size, padded_size);
    bytes = Array<uint8_t>((size_t)num_slots / kCellTokens * num_heads * cell_bytes);
  }

  template <class Number>
  Cell<Number> cell(int slot, int head) const {
    const size_t index = (size_t)(slot / kCellTokens) * num_heads + head;
    return {bytes.data() + index * cell_bytes, key_size, padded_size};
  }

  void put(int slot, int head, const float* key, const float* value) const {
    const int place = slot % kCellTokens;
    if (in_bytes) {
      const auto into = cell<int8_t>(slot, head);
      into.key_scales()[place] = put_bytes(key, head_size, [&](int i) { return into.key(place, i); });
      into.value_scales()[place] = put_bytes(value, head_size, [&](int i) { return into.value(place, i); });
      return;
    }
    const auto into = cell<Half>(slot, head);
    for (int i = 0; i < head_size; ++i) *into.key(place, i) = to_half(key[i]);
    for (int i = 0; i < head_size; ++i) *into.value(place, i) = to_half(value[i]);
  }

  void copy(int source_slot, int target_slot, int num_slots) const {
    const size_t size_bytes = num_slots / kCellTokens * num_heads * cell_bytes;
    std::memcpy(cell<Half>(target_slot, 0).base, cell<Half>(source_slot, 0).base, size_bytes);
  }

  int num_heads = 0, head_size = 0, key_size = 0, padded_size = 0;
  bool in_bytes = false;
  size_t cell_bytes = 0;
  Array<uint8_t> bytes;
};

}  // namespace mainspring
