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
  return guarded([&] { model->set_matrix(layer, (Site)site, weights, bias, outputs, inputs, bits); });
}

const char* mainspring_set_norm(Model* model, int layer, int place, const float* weights, int count, float eps) {
  return guarded([&] {
    Norm norm{std::vector<float>(weights, weights + count), eps};
    norm.weights.resize(round_up(count, kBlock));
    model->set_norm(layer, (NormPlace)place, std::move(norm));
  });
}

const char* mainspring_set_embedding(Model* model, const float* values, int rows, int width) {
  return guarded([&] { model->set_embedding(Table(values, rows, width)); });
}

const char* mainspring_add_rope(Model* model, const float* frequencies, int pairs, float amplitude) {
  return guarded([&] { model->add_rope({std::vector<float>(frequencies, frequencies + pairs), amplitude}); });
}

const char* mainspring_set_factors(Model* model, int adapter, int layer, int site, int rank, const float* down,
                                   const float* up) {
  return guarded([&] { model->set_factors(adapter, layer, (Site)site, rank, down, up); });
}

void mainspring_drop_adapter(Model* model, int adapter) { model->drop_adapter(adapter); }

const char* mainspring_step(Model* model, const Batch* batch) {
  return guarded([&] { model->step(*batch); });
}

int64_t mainspring_cache_bytes(Model* model) { return model->cache_bytes(); }

void mainspring_copy_block(Model* model, int source, int target) { model->copy_block(source, target); }

void mainspring_summarize(Model* model, int count, int vocab, const float* scores, const int32_t* rows, int32_t* best,
                          double* log_sums, double* entropies) {
  model->threads().run(count, [&](int i, int) {
    const Summary found = summarize(scores + (size_t)rows[i] * vocab, vocab);
    best[i] = found.best, log_sums[i] = found.log_sum, entropies[i] = found.entropy;
  });
}

}  // extern "C"
