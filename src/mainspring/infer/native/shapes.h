// What Python tells of a model and of a step: the same structs stand in structs.py, field by field.
#pragma once

#include <cstdint>

namespace mainspring {

struct Sizes {
  int32_t width, vocab_size, num_layers, block_size, num_blocks, kv_in_bytes, threads;
  float embedding_scale, softcap;
};

// All layers have the same numbers of heads and the same head size.
struct LayerShape {
  int32_t num_heads, num_kv_heads, head_size;
  int32_t rope;    // which one of those added
  int32_t window;  // how many of the last tokens a token sees; 0: all
  int32_t activation;
  float scale, softcap;

  int repeat() const { return num_heads / num_kv_heads; }  // query heads of a key-value head
};

// One step: tokens of several sequences, and the rows of them that want scores.
struct Batch {
  int32_t num_works, num_scored;
  const int32_t* ids;        // of every row
  const int32_t* starts;     // each work's first row, and behind the last one the number of rows
  const int32_t* positions;  // of each work's first token
  const int32_t* tables;     // each work's blocks, one work behind the other
  const int32_t* table_starts;
  const int32_t* adapters;  // each work's, or -1
  const int32_t* scored;    // rows
  float* scores;            // num_scored x vocab_size

  int num_rows() const { return starts[num_works]; }
};

}  // namespace mainspring
