// Positions are read in chunks of 64 that lie at multiples of 64, and joined by an online softmax
// (arXiv:1805.02867, alg. 3). What a row adds up, and in which order, depends on its own position alone: a chunk
// that all rows see wholly is worked on row by row next to each other, the others token by token within
// the bounds of what that token sees.
#include "attention.h"

#include <algorithm>
#include <cmath>

namespace mainspring {
namespace {

constexpr int kChunk = 64;
constexpr int kCells = kChunk / kCellTokens;
constexpr int kMostRows = 48;
constexpr int kWide = 4;  // registers of a value that are summed together
#if defined(__AVX512F__)
constexpr int kTallest = 6;  // rows by four registers of scores
#else
constexpr int kTallest = 2;
#endif

struct Row {
  const float* query;
  float* output;  // the sum so far, padded
  float* best;
  float* total;
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
  const int size = chunk.cells[0].head_size, num_cells = chunk.num_cells();
  for (int row = 0; row < kRows; ++row) {
    for (int cell = 0; cell < kCells; ++cell) scores[row][cell] = Floats{};
  }
  const auto dot = [&](auto width, int from) {
    constexpr int kWidth = decltype(width)::value;
    Floats sums[kRows][kWidth] = {};
    for (int i = 0; i < size; ++i) {
      Floats keys[kWidth];
      for (int cell = 0; cell < kWidth; ++cell) keys[cell] = load(chunk.cells[from + cell].keys() + i * kCellTokens);
#pragma GCC unroll 6
      for (int row = 0; row < kRows; ++row) {
        const Floats query = all(rows[row].query[i]);
#pragma GCC unroll 4
        for (int cell = 0; cell < kWidth; ++cell) {
          sums[row][cell] = multiply_add(query, keys[cell], sums[row][cell]);
        }
      }
    }
    for (int row = 0; row < kRows; ++row) {
      for (int cell = 0; cell < kWidth; ++cell) scores[row][from + cell] = sums[row][cell];
    }
  };
  if (num_cells == kCells) {
    dot(std::integral_constant<int, kCells>{}, 0);
  } else {
    for (int cell = 0; cell < num_cells; ++cell) dot(std::integral_constant<int, 1>{}, cell);
  }
}

// Scores become weights; the sum so far shrinks where a greater score has come.
template <class Number>
void weigh(const Chunk<Number>& chunk, const Scoring& scoring, const Row& row, int padded_size, Floats* scores,
           float* weights) {
  static const Ints places = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const Floats hidden = all(-INFINITY);
  Floats most = hidden;
  for (int cell = 0; cell < kCells; ++cell) {
    Floats& score = scores[cell];
    if (Cell<Number>::kIsScaled && cell < chunk.num_cells()) score *= load(chunk.cells[cell].key_scales());
    if (scoring.softcap > 0.0f) score = tanh(score / scoring.softcap) * scoring.softcap;
    const Ints place = places + cell * kCellTokens;
    score = (place >= chunk.begin) & (place < chunk.end) ? score : hidden;
    most = largest(score, most);
  }
  const float best = std::max(*row.best, largest(most));
  Floats total = {};
  for (int cell = 0; cell < kCells; ++cell) {
    Floats weight = exp(scores[cell] - best);
    total += weight;
    if (Cell<Number>::kIsScaled && cell < chunk.num_cells()) weight *= load(chunk.cells[cell].value_scales());
    store(weights + cell * kCellTokens, weight);
  }
  const float shrink = exp(all(*row.best - best))[0];
  *row.best = best;
  *row.total = *row.total * shrink + sum(total);
  for (int i = 0; i < padded_size; i += kLanes) store(row.output + i, load(row.output + i) * shrink);
}

template <class Number, int kRows, int kWidth>
void mix(const Chunk<Number>& chunk, const Row* rows, const float* weights, int from) {
  Floats sums[kRows][kWidth];
  for (int row = 0; row < kRows; ++row) {
    for (int i = 0; i < kWidth; ++i) sums[row][i] = load(rows[row].output + from + i * kLanes);
  }
  for (int place = chunk.begin; place < chunk.end; ++place) {
    const Cell<Number>& cell = chunk.cells[place / kCellTokens];
    const auto* value = cell.values() + place % kCellTokens * cell.padded_size + from;
    Floats values[kWidth];
    for (int i = 0; i < kWidth; ++i) values[i] = load(value + i * kLanes);
#pragma GCC unroll 6
    for (int row = 0; row < kRows; ++row) {
      const Floats weight = all(weights[row * kChunk + place]);
#pragma GCC unroll 4
      for (int i = 0; i < kWidth; ++i) sums[row][i] = multiply_add(weight, values[i], sums[row][i]);
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int i = 0; i < kWidth; ++i) store(rows[row].output + from + i * kLanes, sums[row][i]);
  }
}

template <class Number, int kRows>
void read_chunk(const Chunk<Number>& chunk, const Scoring& scoring, const Row* rows) {
  const int padded_size = chunk.cells[0].padded_size;
  Floats scores[kRows][kCells];
  alignas(64) float weights[kRows * kChunk];
  score<Number, kRows>(chunk, rows, scores);
  for (int row = 0; row < kRows; ++row) {
    weigh(chunk, scoring, rows[row], padded_size, scores[row], weights + row * kChunk);
  }
  int from = 0;
  for (; from + kWide * kLanes <= padded_size; from += kWide * kLanes) {
    mix<Number, kRows, kWide>(chunk, rows, weights, from);
  }
  for (; from < padded_size; from += kLanes) mix<Number, kRows, 1>(chunk, rows, weights, from);
}

template <class Number, int kRows = kTallest>
void read_rows(const Chunk<Number>& chunk, const Scoring& scoring, const Row* rows, int num_rows) {
  if constexpr (kRows > 0) {
    for (; num_rows >= kRows; num_rows -= kRows, rows += kRows) read_chunk<Number, kRows>(chunk, scoring, rows);
    read_rows<Number, kRows - 1>(chunk, scoring, rows, num_rows);
  }
}

template <class Number>
void attend_cells(const Cache& cache, int head, const Scoring& scoring, const Queries& in, AttentionRoom& room) {
  const int size = cache.head_size, padded = cache.padded_size, repeat = scoring.repeat;
  const int num_rows = in.num_tokens * repeat, last = in.first_position + in.num_tokens - 1;
  room.outputs.assign((size_t)num_rows * padded, 0.0f);
  room.best.assign(num_rows, -INFINITY);
  room.totals.assign(num_rows, 0.0f);
  std::vector<Row> rows(num_rows);
  for (int i = 0; i < num_rows; ++i) {
    const float* query = in.queries + (size_t)(i / repeat) * in.query_stride + i % repeat * size;
    rows[i] = {query, room.outputs.data() + (size_t)i * padded, &room.best[i], &room.totals[i]};
  }
  const auto first_seen = [&](int position) {
    return scoring.window == 0 ? 0 : std::max(position - scoring.window + 1, 0);
  };
  for (int start = first_seen(in.first_position) / kChunk * kChunk; start <= last; start += kChunk) {
    Chunk<Number> chunk;
    for (int cell = 0; cell < kCells; ++cell) {
      const int position = std::min(start + cell * kCellTokens, last / kCellTokens * kCellTokens);
      const int slot = in.blocks[position / in.block_size] * in.block_size + position % in.block_size;
      chunk.cells[cell] = {cache.cell(slot, head), size, padded};
    }
    chunk.begin = 0, chunk.end = kChunk;
    const bool seen_wholly = first_seen(last) <= start && start + kChunk - 1 <= in.first_position;
    if (seen_wholly) {
      read_rows<Number>(chunk, scoring, rows.data(), num_rows);
      continue;
    }
    for (int token = 0; token < in.num_tokens; ++token) {
      const int position = in.first_position + token;
      chunk.begin = std::max(first_seen(position) - start, 0);
      chunk.end = std::min(position + 1 - start, kChunk);
      if (chunk.begin < chunk.end) read_rows<Number>(chunk, scoring, rows.data() + token * repeat, repeat);
    }
  }
  for (int i = 0; i < num_rows; ++i) {
    float* to = in.outputs + (size_t)(i / repeat) * in.output_stride + i % repeat * size;
    for (int number = 0; number < size; ++number) to[number] = rows[i].output[number] / *rows[i].total;
  }
}

}  // namespace

int tokens_together(int repeat) { return std::max(1, kMostRows / repeat); }

void attend(const Cache& cache, int head, const Scoring& scoring, const Queries& queries, AttentionRoom& room) {
  if (cache.in_bytes) {
    attend_cells<int8_t>(cache, head, scoring, queries, room);
  } else {
    attend_cells<Half>(cache, head, scoring, queries, room);
  }
}

}  // namespace mainspring
