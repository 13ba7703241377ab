#include "cache.h"

#include <algorithm>
#include <cmath>

namespace mainspring {
namespace {

// Bytes of `count` numbers, `step` apart, and the scale that was rounded before they were divided by it.
Half put_bytes(int8_t* to, int step, const float* values, int count) {
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

}  // namespace

Cache::Cache(int num_slots, int num_heads, int head_size, bool in_bytes)
    : num_heads(num_heads), head_size(head_size), padded_size(round_up(head_size, kLanes)), in_bytes(in_bytes) {
  cell_bytes = in_bytes ? Cell<int8_t>::size(head_size, padded_size) : Cell<Half>::size(head_size, padded_size);
  bytes = Array<uint8_t>((size_t)num_slots / kCellTokens * num_heads * cell_bytes);
}

void Cache::put(int slot, int head, const float* key, const float* value) const {
  uint8_t* base = cell(slot, head);
  const int place = slot % kCellTokens;
  if (in_bytes) {
    const Cell<int8_t> into{base, head_size, padded_size};
    into.key_scales()[place] = put_bytes(into.keys() + place, kCellTokens, key, head_size);
    into.value_scales()[place] = put_bytes(into.values() + place * padded_size, 1, value, head_size);
    return;
  }
  const Cell<Half> into{base, head_size, padded_size};
  Half *keys = into.keys() + place, *values = into.values() + place * padded_size;
  for (int i = 0; i < head_size; ++i) keys[i * kCellTokens] = to_half(key[i]);
  for (int i = 0; i < head_size; ++i) values[i] = to_half(value[i]);
}

void Cache::copy(int source_slot, int target_slot, int num_slots) const {
  std::memcpy(cell(target_slot, 0), cell(source_slot, 0), num_slots / kCellTokens * num_heads * cell_bytes);
}

}  // namespace mainspring
