// A decoder whose layers are norm, attention, norm, gated feed-forward, and its step.
#pragma once

#include <algorithm>
#include <map>
#include <vector>

#include "adapters.h"
#include "attention.h"
#include "product.h"
#include "rows.h"
#include "shapes.h"

namespace mainspring {

constexpr int kRowsOfPart = 4;

// Linears with the same input are joined.
enum class Site : int { qkv, out, gate_up, down, head };
constexpr int kNumLayerSites = 4;

// Norms beside a linear: of what goes in, of what comes out, of the queries and the keys among that.
enum class Place : int { before, after, query, key };
constexpr int kNumPlaces = 4;

struct Linear {
  const Norm& norm(Place place) const { return norms[(int)place]; }

  Matrix matrix;
  Norm norms[kNumPlaces];
  std::map<int, Factors> factors;  // by their adapter
};

struct Layer {
  const Linear& at(Site site) const { return linears[(int)site]; }

  LayerShape shape{};
  Linear linears[kNumLayerSites];
  Cache cache;
};

class Model {
 public:
  explicit Model(const Sizes& sizes) : threads(sizes.threads), sizes_(sizes), layers_(sizes.num_layers) {}

  void set_layer(int layer, const LayerShape& shape) {
    const int num_slots = sizes_.num_blocks * sizes_.block_size;
    layers_[layer].shape = shape;
    layers_[layer].cache = Cache(num_slots, shape.num_kv_heads, shape.head_size, sizes_.kv_in_bytes != 0);
  }

  // The head belongs to no layer.
  Linear& linear_at(int layer, Site site) { return site == Site::head ? head_ : layers_[layer].linears[(int)site]; }

  void drop_adapter(int adapter) {
    for (Layer& layer : layers_) {
      for (Linear& linear : layer.linears) linear.factors.erase(adapter);
    }
  }

  void copy_block(int source, int target) {
    const int size = sizes_.block_size;
    for (const Layer& layer : layers_) layer.cache.copy(source * size, target * size, size);
  }

  int64_t cache_bytes() const { return (int64_t)(layers_.size() * layers_[0].cache.bytes.bytes()); }

  void step(const Batch& batch) {
    num_rows_ = batch.num_rows();
    if (num_rows_ > (int)tokens_.size()) reserve(std::max(num_rows_, 2 * (int)tokens_.size()));
    open(batch);
    for (const Layer& layer : layers_) {
      attend_and_add(layer, batch);
      feed_forward(layer);
    }
    const Target scores{batch.scores, sizes_.vocab_size, Use::keep, {}, sizes_.softcap};
    if (batch.num_scored > 0) apply(head_, x_, scores, batch.num_scored, batch.scored);
  }

  Table embedding;
  std::vector<Rope> ropes;
  Threads threads;

 private:
  // What belongs to a row: its position, where its keys and values lie, and its work's adapter.
  struct Token {
    int position, slot, adapter;
  };

  // Tokens of one work that are attended for together.
  struct Tile {
    int work, first_token, num_tokens;
  };

  void reserve(size_t count) {
    const Layer& layer = layers_[0];  // as wide as the others
    const int width = round_up(sizes_.width, kBlock), heads = layer.at(Site::qkv).matrix.padded_outputs();
    const int attended = layer.at(Site::out).matrix.padded_inputs();
    const int hidden = layer.at(Site::down).matrix.padded_inputs();
    x_ = {count, width};
    normed_ = {count, width};
    part_ = {count, width};
    heads_ = {count, heads};
    attended_ = {count, attended};
    hidden_ = {count, hidden};
    deltas_ = {count, std::max({width, heads, 2 * hidden})};
    quantized_ = {count, std::max({width, attended, hidden})};
    tokens_.resize(count);
    angles_.clear();
    for (const Rope& rope : ropes) angles_.emplace_back(count, 2 * rope.pairs());
  }

  template <class Each>
  void for_rows(int count, const Each& each) {
    threads.run((count + kRowsOfPart - 1) / kRowsOfPart, [&](int part) {
      for (int row = part * kRowsOfPart; row < std::min(count, (part + 1) * kRowsOfPart); ++row) each(row);
    });
  }

  // Where each row stands, its embedding and the angles of its position.
  void open(const Batch& batch) {
    tiles_.clear();
    const int together = std::max(1, kMostRows / layers_[0].shape.repeat()), size = sizes_.block_size;
    for (int work = 0; work < batch.num_works; ++work) {
      const int start = batch.starts[work], count = batch.starts[work + 1] - start;
      const int32_t* blocks = batch.tables + batch.table_starts[work];
      for (int token = 0; token < count; ++token) {
        const int position = batch.positions[work] + token;
        tokens_[start + token] = {position, blocks[position / size] * size + position % size, batch.adapters[work]};
      }
      for (int token = 0; token < count; token += together) {
        tiles_.push_back({work, token, std::min(together, count - token)});
      }
    }
    for_rows(num_rows_, [&](int row) {
      embedding.read(batch.ids[row], sizes_.embedding_scale, x_[row]);
      for (size_t i = 0; i < ropes.size(); ++i) ropes[i].set_angles(tokens_[row].position, angles_[i][row]);
    });
  }

  void attend_and_add(const Layer& layer, const Batch& batch) {
    apply(layer.at(Site::qkv), x_, {heads_[0], heads_.width}, num_rows_);
    for_rows(num_rows_, [&](int row) { take_heads(layer, row); });
    const LayerShape& shape = layer.shape;
    threads.run((int)tiles_.size() * shape.num_kv_heads, [&](int part) {
      const Tile& tile = tiles_[part / shape.num_kv_heads];
      const int head = part % shape.num_kv_heads, first = head * shape.repeat() * shape.head_size;
      const int row = batch.starts[tile.work] + tile.first_token;
      const Queries queries{
          shape, heads_[row] + first, attended_[row] + first, heads_.width, attended_.width,
          tokens_[row].position, tile.num_tokens, batch.tables + batch.table_starts[tile.work], sizes_.block_size,
      };
      layer.cache.in_bytes ? attend<int8_t>(layer.cache, head, queries) : attend<Half>(layer.cache, head, queries);
    });
    add(layer.at(Site::out), attended_);
  }

  void feed_forward(const Layer& layer) {
    const Target gated{hidden_[0], hidden_.width, Use::gate, (Activation)layer.shape.activation};
    apply(layer.at(Site::gate_up), x_, gated, num_rows_);
    add(layer.at(Site::down), hidden_);
  }

  // Adds to the rows what a linear makes of its inputs, normalized where the layer has norms on both sides.
  void add(const Linear& linear, const Rows<float>& inputs) {
    const Norm& after = linear.norm(Place::after);
    if (after.is_none()) return apply(linear, inputs, {x_[0], x_.width, Use::add}, num_rows_);
    apply(linear, inputs, {part_[0], part_.width}, num_rows_);
    for_rows(num_rows_, [&](int row) {
      float *part = part_[row], *to = x_[row];
      after.apply(part, part, sizes_.width);
      for (int i = 0; i < sizes_.width; i += kLanes) store(to + i, load(to + i) + load(part + i));
    });
  }

  // Queries are normalized, turned and scaled in place; keys and values go into the cache.
  void take_heads(const Layer& layer, int row) {
    const LayerShape& shape = layer.shape;
    const int size = shape.head_size, num_heads = shape.num_heads, num_keys = shape.num_kv_heads;
    for (int head = 0; head < num_heads + num_keys; ++head) {
      const bool is_query = head < num_heads;
      float* numbers = heads_[row] + head * size;
      layer.at(Site::qkv).norm(is_query ? Place::query : Place::key).apply_within(numbers, size);
      ropes[shape.rope].turn(numbers, angles_[shape.rope][row]);
      for (int i = 0; is_query && i < size; ++i) numbers[i] *= shape.scale;
    }
    const float *keys = heads_[row] + num_heads * size, *values = keys + num_keys * size;
    for (int head = 0; head < num_keys; ++head) {
      layer.cache.put(tokens_[row].slot, head, keys + head * size, values + head * size);
    }
  }

  // Sends rows through a linear: `count` of them, or as many that are chosen. A row is normalized and spread, what
  // the adapter of its work will add is computed, then it goes into bytes.
  void apply(const Linear& linear, const Rows<float>& inputs, const Target& target, int count,
             const int32_t* chosen = nullptr) {
    const Matrix& matrix = linear.matrix;
    const Norm& before = linear.norm(Place::before);
    quantized_.set_width(inputs.width);
    for_rows(count, [&](int row) {
      const int input_row = chosen == nullptr ? row : chosen[row];
      float* from = inputs[input_row];
      if (!before.is_none()) {
        before.apply(from, normed_[row], matrix.inputs);
        from = normed_[row];
      }
      spread(from, matrix.inputs, matrix.spread_size);
      const auto factors = linear.factors.find(tokens_[input_row].adapter);
      const bool is_adapted = factors != linear.factors.end();
      if (is_adapted) factors->second.apply(from, deltas_[row]);
      quantized_.deltas[row] = is_adapted ? deltas_[row] : nullptr;
      quantized_.set(row, from, matrix.inputs, matrix.bits == 4);
    });
    multiply(matrix, quantized_, count, target, threads);
  }

  Sizes sizes_;
  std::vector<Layer> layers_;
  Linear head_;

  // Rows of the step. All are padded with zeros to whole blocks.
  int num_rows_ = 0;
  Rows<float> x_, heads_, attended_, hidden_, part_;
  Rows<float> normed_, deltas_;      // a row's normalized input and what its adapter adds
  std::vector<Rows<float>> angles_;  // of every rope
  QuantizedRows quantized_;
  std::vector<Token> tokens_;
  std::vector<Tile> tiles_;
};

}  // namespace mainspring
