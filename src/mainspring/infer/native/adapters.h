// Low-rank factors beside linears (arXiv:2106.09685): what they add to a row is computed for that row alone.
#pragma once

#include <map>
#include <utility>
#include <vector>

namespace mainspring {

// Factors of one linear, scaled, both padded with zeros: `down` is rank x inputs, `up` is rank x outputs, in the
// order of the packed matrix's outputs.
struct Factors {
  int rank, inputs, outputs;
  std::vector<float> down, up;

  Factors(int rank, int inputs, int outputs, const float* down, const float* up);
  void apply(const float* row, float* delta) const;
};

class Adapters {
 public:
  void set(int adapter, int layer, int site, Factors factors) {
    factors_.insert_or_assign({adapter, layer, site}, std::move(factors));
  }
  void drop(int adapter) {
    for (auto at = factors_.begin(); at != factors_.end();) {
      at = std::get<0>(at->first) == adapter ? factors_.erase(at) : std::next(at);
    }
  }
  // Null where the adapter has nothing beside that linear.
  const Factors* find(int adapter, int layer, int site) const {
    const auto found = factors_.find({adapter, layer, site});
    return found == factors_.end() ? nullptr : &found->second;
  }

 private:
  std::map<std::tuple<int, int, int>, Factors> factors_;
};

}  // namespace mainspring
