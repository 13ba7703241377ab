// What Python sees. Every function that can fail returns a text, null when all went well.
#include <exception>
#include <string>

#include "model.h"
#include "summary.h"

using namespace mainspring;

namespace {

template <class Body>
const char* guarded(const Body& body) {
  static thread_local std::string message;
  try {
    body();
    return nullptr;
  } catch (const std::exception& error) {
    message = error.what();
    return message.c_str();
  }
}

}  // namespace

extern "C" {

const char* mainspring_create(const Sizes* sizes, Model** model) {
  return guarded([&] { *model = new Model(*sizes); });
}

void mainspring_destroy(Model* model) { delete model; }

const char* mainspring_set_layer(Model* model, int layer, const LayerShape* shape) {
  return guarded([&] { model->set_layer(layer, *shape); });
}

const char* mainspring_set_matrix(Model* model, int layer, int site, const float* weights, const float* bias,
                                  int outputs, int inputs, int bits) {
  return guarded([&] {
    model->linear_at(layer, (Site)site).matrix = Matrix(weights, bias, outputs, inputs, bits, model->threads);
  });
}

const char* mainspring_set_norm(Model* model, int layer, int site, int place, const float* weights, int count,
                                float eps) {
  return guarded([&] { model->linear_at(layer, (Site)site).norms[place] = Norm(weights, count, eps); });
}

const char* mainspring_set_factors(Model* model, int layer, int site, int adapter, int rank, const float* down,
                                   const float* up) {
  return guarded([&] {
    Linear& linear = model->linear_at(layer, (Site)site);
    linear.factors.insert_or_assign(adapter, Factors(rank, linear.matrix, down, up));
  });
}

void mainspring_drop_adapter(Model* model, int adapter) { model->drop_adapter(adapter); }

const char* mainspring_set_embedding(Model* model, const float* values, int rows, int width) {
  return guarded([&] { model->embedding = Table(values, rows, width); });
}

const char* mainspring_add_rope(Model* model, const float* frequencies, int pairs, float amplitude) {
  return guarded([&] { model->ropes.push_back({std::vector<float>(frequencies, frequencies + pairs), amplitude}); });
}

const char* mainspring_step(Model* model, const Batch* batch) {
  return guarded([&] { model->step(*batch); });
}

int64_t mainspring_cache_bytes(Model* model) { return model->cache_bytes(); }

void mainspring_copy_block(Model* model, int source, int target) { model->copy_block(source, target); }

void mainspring_summarize(Model* model, int count, int vocab, const float* scores, const int32_t* rows,
                          Summary* found) {
  model->threads.run(count, [&](int i) { found[i] = summarize(scores + (size_t)rows[i] * vocab, vocab); });
}

}  // extern "C"
