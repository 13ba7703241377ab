// A decoder whose layers are norm, attention, norm, gated feed-forward, and its step.
//
// The structs up to Batch are shared with structs.py, field by field.
#pragma once

#include <map>
#include <vector>

#include "adapters.h"
#include "attention.h"
#include "product.h"
#include "rows.h"

namespace mainspring {

struct Sizes {
  int32_t width, vocab_size, num_layers, block_size, num_blocks, kv_in_bytes, threads;
  float embedding_scale, softcap;
};

// `rope`: which one of those added, -1: none.
struct LayerShape {
  int32_t num_heads, num_kv_heads, head_size, rope, window, activation, norms_around;
  float scale, softcap;
};

// One step: tokens of several sequences, and the rows of them that want scores.
struct Batch {
  int32_t num_rows, num_works, num_scored;
  const int32_t* ids;        // of every row
  const int32_t* starts;     // each work's first row, and behind the last one the number of rows
  const int32_t* positions;  // of each work's first token
  const int32_t* tables;     // each work's blocks, one work behind the other
  const int32_t* table_starts;
  const int32_t* adapters;  // each work's, or -1
  const int32_t* scored;    // rows
  float* scores;            // num_scored x vocab_size
};

enum class Site : int { qkv, out, gate_up, down, head };
constexpr int kNumSites = 5;
enum class NormPlace : int { mixer, mixer_out, ffn, ffn_out, query, key, last };
constexpr int kNumNorms = 7;
constexpr int kTop = -1;  // the layer of what stands behind all layers

struct Layer {
  LayerShape shape{};
  Matrix matrices[kNumSites];
  std::map<int, Factors> factors[kNumSites];  // beside each matrix, by their adapter
  Norm norms[kNumNorms];
  Cache cache;

  const Matrix& at(Site site) const { return matrices[(int)site]; }
  const Norm& at(NormPlace place) const { return norms[(int)place]; }
};

class Model {
 public:
  explicit Model(const Sizes& sizes);

  void set_layer(int layer, const LayerShape& shape);
  void set_matrix(int layer, Site site, const float* weights, const float* bias, int outputs, int inputs, int bits) {
    layer_at(layer).matrices[(int)site] = Matrix(weights, bias, outputs, inputs, bits, threads_);
  }
  void set_norm(int layer, NormPlace place, Norm norm) { layer_at(layer).norms[(int)place] = std::move(norm); }
  void set_embedding(Table table) { embedding_ = std::move(table); }
  void add_rope(Rope rope) { ropes_.push_back(std::move(rope)); }
  void set_factors(int adapter, int layer, Site site, int rank, const float* down, const float* up);
  void drop_adapter(int adapter);

  void step(const Batch& batch);
  void copy_block(int source, int target);
  int64_t cache_bytes() const;
  Threads& threads() { return threads_; }

 private:
  struct Tile {
    int work, first_token, num_tokens;
  };

  Layer& layer_at(int layer) { return layer == kTop ? top_ : layers_[layer]; }
  void reserve(int rows);
  void open(const Batch& batch);
  void attend_and_add(const Layer& layer, const Batch& batch);
  void feed_forward(const Layer& layer);
  void mix(const Layer& layer, const Batch& batch);
  void score(const Batch& batch);
  void take_heads(const Layer& layer, int row);
  void feed(const Layer& layer, Site site, const Array<float>& inputs, const Norm* norm,
            const int32_t* chosen = nullptr, int count = 0);
  void multiply_into(const Layer& layer, Site site, int count, float* values, int stride, Use use);
  void add_part(const Layer& layer, Site site, NormPlace place);
  template <class Each>
  void for_rows(int count, const Each& each);

  Sizes sizes_;
  std::vector<Layer> layers_;
  Layer top_;
  Table embedding_;
  std::vector<Rope> ropes_;
  Threads threads_;

  // Rows of the step. All are padded with zeros to whole blocks.
  int reserved_ = 0, num_rows_ = 0, width_ = 0, widest_ = 0;
  Array<float> x_, heads_, attended_, hidden_, part_;
  Array<float> normed_, deltas_;  // a row's normalized input and what its adapter adds
  std::vector<const float*> delta_of_;
  std::vector<int> slot_of_, position_of_, adapter_of_;
  std::vector<Array<float>> cos_, sin_;  // of every rope
  QuantizedRows quantized_;
  std::vector<Tile> tiles_;
  std::vector<AttentionRoom> rooms_;  // of every thread
};

}  // namespace mainspring
