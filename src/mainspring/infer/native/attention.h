// Attention of a few tokens that stand one behind the other, for the query heads of one key-value head.
//
// Positions are read in chunks of 64 that lie at multiples of 64, and joined by an online softmax
// (arXiv:1805.02867, alg. 3). What a row adds up, and in which order, depends on its own position alone: a chunk
// that all rows see wholly is worked on row by row next to each other, the others token by token within
// the bounds of what that token sees.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "cache.h"
#include "shapes.h"

namespace mainspring {

constexpr int kChunk = 64;
constexpr int kCells = kChunk / kCellTokens;
constexpr int kMostRows = 48;  // of one call: so many that their sums stay near the processor
constexpr int kWide = 4;       // registers of a value that are summed together
#if defined(__AVX512F__)
constexpr int kRowsTogether = 6;  // by four registers of scores
#else
constexpr int kRowsTogether = 2;
#endif

// Tokens of one sequence that are attended for together, by the query heads of one key-value head. `queries` are
// rotated and scaled.
struct Queries {
  const LayerShape& shape;
  const float* queries;             // of the first token and the first of the heads
  float* outputs;                   // likewise
  int query_stride, output_stride;  // from token to token
  int first_position, num_tokens;
  const int32_t* blocks;  // the sequence's table
  int block_size;

  // The first position that a token sees.
  int first_seen(int position) const { return shape.window == 0 ? 0 : std::max(position - shape.window + 1, 0); }
};

// One query and the online softmax of what it has seen.
struct Row {
  const Half* query;  // padded to pairs
  float* output;  // the sum so far, padded
  float best = -INFINITY;
  Floats total = {};  // by lanes
};

// The chunk's cells, and which of its positions are seen: from `begin` up to `end`.
template <class Number>
struct Chunk {
  Cell<Number> cells[kCells];
  int begin, end;

  int num_cells() const { return (end + kCellTokens - 1) / kCellTokens; }
};

template <class Number, int kRows>
void score(const Chunk<Number>& chunk, const Row* rows, Floats (&scores)[kRows][kCells]) {
  const int size = chunk.cells[0].key_size, num_cells = chunk.num_cells();
  const auto dot = [&](auto width, int from) {
    constexpr int kWidth = decltype(width)::value;
    Floats sums[kRows][kWidth] = {};
    for (int i = 0; i < size; i += 2) {
      Ints keys[kWidth];
      for (int cell = 0; cell < kWidth; ++cell) keys[cell] = load_pairs(chunk.cells[from + cell].key(0, i));
#pragma GCC unroll 6
      for (int row = 0; row < kRows; ++row) {
        const int32_t query = read_as<int32_t>(rows[row].query + i);
#pragma GCC unroll 4
        for (int cell = 0; cell < kWidth; ++cell) sums[row][cell] = add_products(sums[row][cell], keys[cell], query);
      }
    }
    for (int row = 0; row < kRows; ++row) {
      for (int cell = 0; cell < kWidth; ++cell) scores[row][from + cell] = sums[row][cell];
    }
  };
  if (num_cells == kCells) return dot(std::integral_constant<int, kCells>{}, 0);
  for (int cell = 0; cell < num_cells; ++cell) dot(std::integral_constant<int, 1>{}, cell);
}

// Scores become weights; the sum so far shrinks where a greater score has come.
template <class Number>
void weigh(const Chunk<Number>& chunk, float softcap, Row& row, Floats* scores, Half* weights) {
  static const Ints places = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const Floats hidden = all(-INFINITY);
  Floats most = hidden;
  for (int cell = 0; cell < kCells; ++cell) {
    Floats& score = scores[cell];
    if (Cell<Number>::kIsScaled && cell < chunk.num_cells()) score *= load(chunk.cells[cell].key_scales());
    score = soft_capped(score, softcap);
    const Ints place = places + cell * kCellTokens;
    score = (place >= chunk.begin) & (place < chunk.end) ? score : hidden;
    most = largest(score, most);
  }
  const float best = std::max(row.best, largest(most));
  if (best > row.best) {  // by 1 nothing shrinks
    const Floats shrink = exp(all(row.best - best));
    row.best = best;
    row.total *= shrink;
    const int padded_size = chunk.cells[0].padded_size;
    for (int i = 0; i < padded_size; i += kLanes) store(row.output + i, load(row.output + i) * shrink);
  }
  for (int cell = 0; cell < kCells; ++cell) {
    Floats weight = exp(scores[cell] - best);
    if (!Cell<Number>::kIsScaled) weight = to_halves(weight);  // the total is of what is added up, where it can be
    row.total += weight;
    if (Cell<Number>::kIsScaled && cell < chunk.num_cells()) {
      weight = to_halves(weight * load(chunk.cells[cell].value_scales()));
    }
    store(weights + cell * kCellTokens, weight);
  }
}

template <class Number, int kRows, int kWidth>
void mix(const Chunk<Number>& chunk, const Row* rows, const Half* weights, int from) {
  Floats sums[kRows][kWidth];
  for (int row = 0; row < kRows; ++row) {
    for (int i = 0; i < kWidth; ++i) sums[row][i] = load(rows[row].output + from + i * kLanes);
  }
  for (int place = chunk.begin / 2 * 2; place < chunk.end; place += 2) {
    const Cell<Number>& cell = chunk.cells[place / kCellTokens];
    Ints values[kWidth];
    for (int i = 0; i < kWidth; ++i) values[i] = load_pairs(cell.value(place % kCellTokens, from + i * kLanes));
    // what is not seen may be anything, even no number, which a weight of 0 would not undo
    if (place < chunk.begin) for (Ints& value : values) value &= (int32_t)0xffff0000;
    if (place + 1 == chunk.end) for (Ints& value : values) value &= 0xffff;
#pragma GCC unroll 6
    for (int row = 0; row < kRows; ++row) {
      const int32_t weight = read_as<int32_t>(weights + row * kChunk + place);
#pragma GCC unroll 4
      for (int i = 0; i < kWidth; ++i) sums[row][i] = add_products(sums[row][i], values[i], weight);
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int i = 0; i < kWidth; ++i) store(rows[row].output + from + i * kLanes, sums[row][i]);
  }
}

template <class Number, int kRows>
void read_chunk(const Chunk<Number>& chunk, float softcap, Row* rows) {
  const int padded_size = chunk.cells[0].padded_size;
  Floats scores[kRows][kCells] = {};
  alignas(64) Half weights[kRows * kChunk];
  score<Number, kRows>(chunk, rows, scores);
  for (int row = 0; row < kRows; ++row) weigh(chunk, softcap, rows[row], scores[row], weights + row * kChunk);
  int from = 0;
  for (; from + kWide * kLanes <= padded_size; from += kWide * kLanes) {
    mix<Number, kRows, kWide>(chunk, rows, weights, from);
  }
  for (; from < padded_size; from += kLanes) mix<Number, kRows, 1>(chunk, rows, weights, from);
}

template <class Number>
void read_rows(const Chunk<Number>& chunk, float softcap, Row* rows, int num_rows) {
  for (int first = 0; first < num_rows; first += kRowsTogether) {
    with_constant<kRowsTogether>(std::min(kRowsTogether, num_rows - first), [&](auto together) {
      read_chunk<Number, together>(chunk, softcap, rows + first);
    });
  }
}

template <class Number>
void attend(const Cache& cache, int head, const Queries& in) {
  const int size = cache.head_size, padded = cache.padded_size, repeat = in.shape.repeat();
  const int num_rows = in.num_tokens * repeat, last = in.first_position + in.num_tokens - 1;
  std::vector<float> outputs((size_t)num_rows * padded);
  std::vector<Half> queries((size_t)num_rows * cache.key_size);
  std::vector<Row> rows(num_rows);
  for (int i = 0; i < num_rows; ++i) {
    const float* from = in.queries + (size_t)(i / repeat) * in.query_stride + i % repeat * size;
    Half* query = queries.data() + (size_t)i * cache.key_size;
    for (int number = 0; number < size; ++number) query[number] = to_half(from[number]);
    rows[i].query = query;
    rows[i].output = outputs.data() + (size_t)i * padded;
  }
  for (int start = in.first_seen(in.first_position) / kChunk * kChunk; start <= last; start += kChunk) {
    Chunk<Number> chunk;
    for (int cell = 0; cell < kCells; ++cell) {
      const int position = std::min(start + cell * kCellTokens, last / kCellTokens * kCellTokens);
      const int slot = in.blocks[position / in.block_size] * in.block_size + position % in.block_size;
      chunk.cells[cell] = cache.cell<Number>(slot, head);
    }
    chunk.begin = 0, chunk.end = kChunk;
    const bool seen_wholly = in.first_seen(last) <= start && start + kChunk - 1 <= in.first_position;
    if (seen_wholly) {
      read_rows(chunk, in.shape.softcap, rows.data(), num_rows);
      continue;
    }
    for (int token = 0; token < in.num_tokens; ++token) {
      const int position = in.first_position + token;
      chunk.begin = std::max(in.first_seen(position) - start, 0);
      chunk.end = std::min(position + 1 - start, kChunk);
      if (chunk.begin < chunk.end) read_rows(chunk, in.shape.softcap, rows.data() + token * repeat, repeat);
    }
  }
  for (int i = 0; i < num_rows; ++i) {
    float* to = in.outputs + (size_t)(i / repeat) * in.output_stride + i % repeat * size;
    const float total = sum(rows[i].total);
    for (int number = 0; number < size; ++number) to[number] = rows[i].output[number] / total;
  }
}

}  // namespace mainspring
