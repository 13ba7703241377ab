// Attention of a few tokens that stand one behind the other, for the query heads of one key-value head.
#pragma once

#include <vector>

#include "cache.h"

namespace mainspring {

struct Scoring {
  int repeat;     // query heads of a key-value head
  int window;     // how many of the last tokens a token sees; 0: all
  float softcap;  // 0: none
};

// Tokens of one sequence that are attended for together. `queries` are rotated and scaled.
struct Queries {
  const float* queries;  // of the first token and the first of the heads
  float* outputs;        // likewise
  int query_stride, output_stride;  // from token to token
  int first_position, num_tokens;
  const int32_t* blocks;  // the sequence's table
  int block_size;
};

// Room for the sums of one part, a thread's own.
struct AttentionRoom {
  std::vector<float> outputs, best, totals;
};

void attend(const Cache& cache, int head, const Scoring& scoring, const Queries& queries, AttentionRoom& room);

// The most tokens that one call should be given: so many that their sums stay near the processor.
int tokens_together(int repeat);

}  // namespace mainspring
