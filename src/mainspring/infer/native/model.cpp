#include "model.h"

#include <algorithm>

namespace mainspring {
namespace {

constexpr int kRowsOfPart = 4;

}  // namespace

Model::Model(const Sizes& sizes)
    : sizes_(sizes), layers_(sizes.num_layers), threads_(sizes.threads), rooms_(sizes.threads) {
  width_ = round_up(sizes.width, kBlock);
}

void Model::set_layer(int layer, const LayerShape& shape) {
  layer_at(layer).shape = shape;
  if (layer == kTop) return;
  const int num_slots = sizes_.num_blocks * sizes_.block_size;
  layers_[layer].cache = Cache(num_slots, shape.num_kv_heads, shape.head_size, sizes_.kv_in_bytes != 0);
}

void Model::copy_block(int source, int target) {
  const int size = sizes_.block_size;
  for (const Layer& layer : layers_) layer.cache.copy(source * size, target * size, size);
}

void Model::step(const Batch& batch) {
  reserve(batch.num_rows);
  open(batch);
  for (int index = 0; index < sizes_.num_layers; ++index) {
    attend_and_add(layers_[index], index, batch);
    feed_forward(layers_[index], index);
  }
  score(batch);
}

void Model::reserve(int rows) {
  num_rows_ = rows;
  if (rows <= reserved_) return;
  reserved_ = std::max(rows, 2 * reserved_);
  int heads = 0, attended = 0, hidden = 0;
  for (const Layer& layer : layers_) {
    heads = std::max(heads, layer.at(Site::qkv).padded_outputs());
    attended = std::max(attended, layer.at(Site::out).padded_inputs());
    hidden = std::max(hidden, layer.at(Site::down).padded_inputs());
  }
  widest_ = std::max({width_, heads, attended, 2 * hidden});
  const size_t count = reserved_;
  x_ = Array<float>(count * width_);
  part_ = Array<float>(count * width_);
  heads_ = Array<float>(count * heads);
  attended_ = Array<float>(count * attended);
  hidden_ = Array<float>(count * hidden);
  normed_ = Array<float>(count * width_);
  deltas_ = Array<float>(count * widest_);
  quantized_.reserve(reserved_, std::max({width_, attended, hidden}));
  cos_.clear(), sin_.clear();
  for (const Rope& rope : ropes_) {
    cos_.emplace_back(count * rope.pairs());
    sin_.emplace_back(count * rope.pairs());
  }
  delta_of_.resize(count), slot_of_.resize(count), position_of_.resize(count), adapter_of_.resize(count);
}

template <class Each>
void Model::for_rows(int count, const Each& each) {
  threads_.run((count + kRowsOfPart - 1) / kRowsOfPart, [&](int part, int) {
    for (int row = part * kRowsOfPart; row < std::min(count, (part + 1) * kRowsOfPart); ++row) each(row);
  });
}

// Where each row stands, its embedding and the angles of its position.
void Model::open(const Batch& batch) {
  tiles_.clear();
  int repeat = 1;
  for (const Layer& layer : layers_) repeat = std::max(repeat, layer.shape.num_heads / layer.shape.num_kv_heads);
  for (int work = 0; work < batch.num_works; ++work) {
    const int start = batch.starts[work], count = batch.starts[work + 1] - start, size = sizes_.block_size;
    const int32_t* blocks = batch.tables + batch.table_starts[work];
    for (int token = 0; token < count; ++token) {
      const int position = batch.positions[work] + token;
      position_of_[start + token] = position;
      slot_of_[start + token] = blocks[position / size] * size + position % size;
      adapter_of_[start + token] = batch.adapters[work];
    }
    const int together = tokens_together(repeat);
    for (int token = 0; token < count; token += together) {
      tiles_.push_back({work, token, std::min(together, count - token)});
    }
  }
  for_rows(batch.num_rows, [&](int row) {
    embedding_.read(batch.ids[row], sizes_.embedding_scale, x_.data() + (size_t)row * width_);
    for (size_t i = 0; i < ropes_.size(); ++i) {
      const size_t at = (size_t)row * ropes_[i].pairs();
      ropes_[i].turn(position_of_[row], cos_[i].data() + at, sin_[i].data() + at);
    }
  });
}

void Model::attend_and_add(const Layer& layer, int index, const Batch& batch) {
  const bool around = layer.shape.norms_around != 0;
  const int heads = layer.at(Site::qkv).padded_outputs();
  feed(index, Site::qkv, x_, &layer.at(NormPlace::mixer));
  multiply_into(index, Site::qkv, num_rows_, heads_.data(), heads, Use::keep);
  for_rows(num_rows_, [&](int row) { take_heads(layer, row); });
  mix(layer, batch);
  feed(index, Site::out, attended_, nullptr);
  float* to = around ? part_.data() : x_.data();
  multiply_into(index, Site::out, num_rows_, to, width_, around ? Use::keep : Use::add);
  if (around) for_rows(num_rows_, [&](int row) { join(layer.at(NormPlace::mixer_out), row); });
}

void Model::feed_forward(const Layer& layer, int index) {
  const bool around = layer.shape.norms_around != 0;
  const int hidden = layer.at(Site::down).padded_inputs();
  feed(index, Site::gate_up, x_, &layer.at(NormPlace::ffn));
  multiply_into(index, Site::gate_up, num_rows_, hidden_.data(), hidden, Use::gate);
  feed(index, Site::down, hidden_, nullptr);
  float* to = around ? part_.data() : x_.data();
  multiply_into(index, Site::down, num_rows_, to, width_, around ? Use::keep : Use::add);
  if (around) for_rows(num_rows_, [&](int row) { join(layer.at(NormPlace::ffn_out), row); });
}

// Queries are normalized, turned and scaled in place; keys and values go into the cache.
void Model::take_heads(const Layer& layer, int row) {
  const LayerShape& shape = layer.shape;
  float* heads = heads_.data() + (size_t)row * layer.at(Site::qkv).padded_outputs();
  const int size = shape.head_size, num_keys = shape.num_kv_heads;
  const float *cos = nullptr, *sin = nullptr;
  const int pairs = shape.rope < 0 ? 0 : ropes_[shape.rope].pairs();
  if (pairs > 0) {
    cos = cos_[shape.rope].data() + (size_t)row * pairs;
    sin = sin_[shape.rope].data() + (size_t)row * pairs;
  }
  for (int head = 0; head < shape.num_heads + num_keys; ++head) {
    const bool is_query = head < shape.num_heads;
    float* numbers = heads + head * size;
    layer.at(is_query ? NormPlace::query : NormPlace::key).apply_within(numbers, size);
    if (pairs > 0) rotate(numbers, cos, sin, pairs);
    if (is_query) {
      for (int i = 0; i < size; ++i) numbers[i] *= shape.scale;
    }
  }
  const float *keys = heads + shape.num_heads * size, *values = keys + num_keys * size;
  for (int head = 0; head < num_keys; ++head) {
    layer.cache.put(slot_of_[row], head, keys + head * size, values + head * size);
  }
}

void Model::mix(const Layer& layer, const Batch& batch) {
  const LayerShape& shape = layer.shape;
  const int heads = layer.at(Site::qkv).padded_outputs(), attended = layer.at(Site::out).padded_inputs();
  const Scoring scoring{shape.num_heads / shape.num_kv_heads, shape.window, shape.softcap};
  threads_.run((int)tiles_.size() * shape.num_kv_heads, [&](int part, int thread) {
    const Tile& tile = tiles_[part / shape.num_kv_heads];
    const int head = part % shape.num_kv_heads, first = head * scoring.repeat * shape.head_size;
    const size_t row = batch.starts[tile.work] + tile.first_token;
    const Queries queries{
        heads_.data() + row * heads + first, attended_.data() + row * attended + first, heads, attended,
        position_of_[row], tile.num_tokens, batch.tables + batch.table_starts[tile.work], sizes_.block_size,
    };
    attend(layer.cache, head, scoring, queries, rooms_[thread]);
  });
}

void Model::score(const Batch& batch) {
  if (batch.num_scored == 0) return;
  const int vocab = sizes_.vocab_size;
  feed(kTop, Site::head, x_, &top_.at(NormPlace::last), batch.scored, batch.num_scored);
  multiply_into(kTop, Site::head, batch.num_scored, batch.scores, vocab, Use::keep);
  if (sizes_.softcap <= 0.0f) return;
  for_rows(batch.num_scored, [&](int row) {
    float* scores = batch.scores + (size_t)row * vocab;
    for (int i = 0; i < vocab; i += kLanes) {
      float lanes[kLanes] = {};
      const int count = std::min(kLanes, vocab - i);
      std::copy_n(scores + i, count, lanes);
      store(lanes, tanh(load(lanes) / sizes_.softcap) * sizes_.softcap);
      std::copy_n(lanes, count, scores + i);
    }
  });
}

// Makes rows ready for a linear: all, or those that are chosen.
void Model::feed(int layer, Site site, const Array<float>& inputs, const Norm* norm, const int32_t* chosen,
                 int count) {
  quantized_.width = layer_at(layer).at(site).padded_inputs();
  for_rows(chosen == nullptr ? num_rows_ : count, [&](int row) {
    const int from = chosen == nullptr ? row : chosen[row];
    feed_row(layer, site, row, from, inputs.data() + (size_t)from * quantized_.width, norm);
  });
}

// A row is normalized and spread, what the adapter of its work will add is computed, then it goes into bytes.
void Model::feed_row(int layer, Site site, int row, int input_row, float* from, const Norm* norm) {
  const Layer& at = layer_at(layer);
  const Matrix& matrix = at.at(site);
  if (norm != nullptr) {
    float* normed = normed_.data() + (size_t)row * width_;
    norm->apply(from, normed, matrix.inputs);
    from = normed;
  }
  if (const int size = at.shape.spreads[(int)site]; size > 1) spread(from, matrix.inputs, size);
  const Factors* factors = layer == kTop ? nullptr : adapters_.find(adapter_of_[input_row], layer, (int)site);
  delta_of_[row] = nullptr;
  if (factors != nullptr) {
    float* delta = deltas_.data() + (size_t)row * widest_;
    factors->apply(from, delta);
    delta_of_[row] = delta;
  }
  quantized_.set(row, from, matrix.inputs, matrix.bits == 4);
}

void Model::multiply_into(int layer, Site site, int count, float* values, int stride, Use use) {
  const Matrix& matrix = layer_at(layer).at(site);
  Target target{values, stride, stride, use};
  if (layer != kTop) target.activation = (Activation)layers_[layer].shape.activation;
  target.deltas = delta_of_.data();
  multiply(matrix, quantized_, count, target, threads_);
}

void Model::join(const Norm& norm, int row) {
  float* part = part_.data() + (size_t)row * width_;
  norm.apply(part, part, sizes_.width);
  add_row(part, x_.data() + (size_t)row * width_, sizes_.width);
}

}  // namespace mainspring
