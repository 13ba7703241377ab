// What Python sees. Every function that can fail returns a text, null when all went well.
#include <cmath>
#include <exception>
#include <string>

#include "model.h"

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
  return guarded([&] { model->set_matrix(layer, (Site)site, Matrix(weights, bias, outputs, inputs, bits)); });
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

const char* mainspring_set_factors(Model* model, int adapter, int layer, int site, int rank, int inputs, int outputs,
                                   const float* down, const float* up) {
  return guarded([&] { model->adapters().set(adapter, layer, site, Factors(rank, inputs, outputs, down, up)); });
}

void mainspring_drop_adapter(Model* model, int adapter) { model->adapters().drop(adapter); }

const char* mainspring_step(Model* model, const Batch* batch) {
  return guarded([&] { model->step(*batch); });
}

void mainspring_copy_block(Model* model, int source, int target) { model->copy_block(source, target); }

void mainspring_choose(const float* scores, int rows, int count, int32_t* best, double* log_sums) {
  for (int row = 0; row < rows; ++row) choose(scores + (size_t)row * count, count, best + row, log_sums + row);
}

}  // extern "C"
