// What the methods with statistics have in common: shares of the models, and the plain mean for tensors without any.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "solera/base/error.h"
#include "solera/merge/method.h"
#include "solera/weights/vector.h"

namespace solera::merge {

// Shares are not negative and not all zero. Throws Error (usage).
template <class Model>
void require_shares(std::span<const Model> models) {
  double sum = 0;
  for (const Model& model : models) {
    if (model.weight < 0)
      throw usage_error(cat("\"weight\" is ", model.weight, ", less than 0"), "", "shares are 0 or more");
    sum += model.weight;
  }
  if (sum == 0) throw usage_error("the weights sum to zero", "", "give one model a weight above 0");
}

template <class T>
void weighted_mean(const TensorPass& pass, std::span<const double> shares, double sum) {
  weights::map<T>(pass.engine, pass.model_operands(), *pass.sink, [&](const weights::Tile<T>& tile, T* out) {
    weights::weighted_mean<T>(shares, sum, tile.inputs, tile.count, out);
  });
}

// out = sum_i weight_i x_i / sum_i weight_i
template <class Model>
void merge_by_shares(const TensorPass& pass, std::span<const Model> models) {
  std::vector<double> shares;
  double sum = 0;
  for (const Model& model : models) sum += shares.emplace_back(model.weight);
  pass.wide() ? weighted_mean<double>(pass, shares, sum) : weighted_mean<float>(pass, shares, sum);
}

}  // namespace solera::merge
