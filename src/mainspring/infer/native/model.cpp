#include "model.h"

#include <algorithm>

namespace mainspring {

constexpr int kRowsOfPart = 4;

Model::Model(const Sizes& sizes)
    : sizes_(sizes), layers_(sizes.num_layers), threads_(sizes.threads), rooms_(sizes.threads) {
  width_ = round_up(sizes.width, kBlock);
}

void Model::set_layer(int layer, const LayerShape& shape) {
  layers_[layer].shape = shape;
  const int num_slots = sizes_.num_blocks * sizes_.block_size;
  layers_[layer].cache = Cache(num_slots, shape.num_kv_heads, shape.head_size, sizes_.kv_in_bytes != 0);
}

void Model::set_factors(int adapter, int layer, Site site, int rank, const float* down, const float* up) {
  Factors factors(rank, layers_[layer].at(site), down, up);
  layers_[layer].factors[(int)site].insert_or_assign(adapter, std::move(factors));
}

void Model::drop_adapter(int adapter) {
  for (Layer& layer : layers_) {
    for (auto& beside : layer.factors) beside.erase(adapter);
  }
}

void Model::copy_block(int source, int target) {
  const int size = sizes_.block_size;
  for (const Layer& layer : layers_) layer.cache.copy(source * size, target * size, size);
}

int64_t Model::cache_bytes() const {
  int64_t total = 0;
  for (const Layer& layer : layers_) total += layer.cache.bytes.bytes();
  return total;
}

void Model::step(const Batch& batch) {
  reserve(batch.num_rows);
  open(batch);
  for (const Layer& layer : layers_) {
    attend_and_add(layer, batch);
    feed_forward(layer);
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

void Model::attend_and_add(const Layer& layer, const Batch& batch) {
  const int heads = layer.at(Site::qkv).padded_outputs();
  feed(layer, Site::qkv, x_, &layer.at(NormPlace::mixer));
  multiply_into(layer, Site::qkv, num_rows_, heads_.data(), heads, Use::keep);
  for_rows(num_rows_, [&](int row) { take_heads(layer, row); });
  mix(layer, batch);
  feed(layer, Site::out, attended_, nullptr);
  add_part(layer, Site::out, NormPlace::mixer_out);
}

void Model::feed_forward(const Layer& layer) {
  const int hidden = layer.at(Site::down).padded_inputs();
  feed(layer, Site::gate_up, x_, &layer.at(NormPlace::ffn));
  multiply_into(layer, Site::gate_up, num_rows_, hidden_.data(), hidden, Use::gate);
  feed(layer, Site::down, hidden_, nullptr);
  add_part(layer, Site::down, NormPlace::ffn_out);
}

// Adds what a part of the layer has made to the rows, normalized where the layer has norms on both sides.
void Model::add_part(const Layer& layer, Site site, NormPlace place) {
  if (layer.shape.norms_around == 0) return multiply_into(layer, site, num_rows_, x_.data(), width_, Use::add);
  multiply_into(layer, site, num_rows_, part_.data(), width_, Use::keep);
  for_rows(num_rows_, [&](int row) {
    float *part = part_.data() + (size_t)row * width_, *to = x_.data() + (size_t)row * width_;
    layer.at(place).apply(part, part, sizes_.width);
    for (int i = 0; i < sizes_.width; i += kLanes) store(to + i, load(to + i) + load(part + i));
  });
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
  feed(top_, Site::head, x_, &top_.at(NormPlace::last), batch.scored, batch.num_scored);
  multiply_into(top_, Site::head, batch.num_scored, batch.scores, vocab, Use::keep);
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

// Makes rows ready for a linear: all, or those that are chosen. A row is normalized and spread, what the adapter of
// its work will add is computed, then it goes into bytes.
void Model::feed(const Layer& layer, Site site, const Array<float>& inputs, const Norm* norm, const int32_t* chosen,
                 int count) {
  const Matrix& matrix = layer.at(site);
  quantized_.width = matrix.padded_inputs();
  for_rows(chosen == nullptr ? num_rows_ : count, [&](int row) {
    const int input_row = chosen == nullptr ? row : chosen[row];
    float* from = inputs.data() + (size_t)input_row * quantized_.width;
    if (norm != nullptr) {
      float* normed = normed_.data() + (size_t)row * width_;
      norm->apply(from, normed, matrix.inputs);
      from = normed;
    }
    if (matrix.spread_size > 1) spread(from, matrix.inputs, matrix.spread_size);
    const auto& beside = layer.factors[(int)site];
    const auto factors = beside.find(adapter_of_[input_row]);
    delta_of_[row] = nullptr;
    if (factors != beside.end()) {
      float* delta = deltas_.data() + (size_t)row * widest_;
      factors->second.apply(from, delta);
      delta_of_[row] = delta;
    }
    quantized_.set(row, from, matrix.inputs, matrix.bits == 4);
  });
}

void Model::multiply_into(const Layer& layer, Site site, int count, float* values, int stride, Use use) {
  const Target target{values, stride, stride, use, (Activation)layer.shape.activation, delta_of_.data()};
  multiply(layer.at(site), quantized_, count, target, threads_);
}

}  // namespace mainspring
