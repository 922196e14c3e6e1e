#include "solera/merge/methods/linear.h"

#include <vector>

#include "solera/base/error.h"
#include "solera/merge/methods/changes.h"

namespace solera::merge {

namespace {

void check(const LinearParams& params, std::span<const LinearModel> models) {
  double sum = 0;
  for (const LinearModel& model : models) sum += model.weight;
  if (params.normalize && sum == 0)
    throw usage_error("the weights sum to zero", "", "change a weight, or set normalize: false");
}

template <class T>
void mean(std::span<T* const> inputs, const LinearParams& params, std::span<const LinearModel> models, std::int64_t n,
          T* out) {
  std::vector<double> weights;
  double sum = 0;
  for (const LinearModel& model : models) {
    weights.push_back(model.weight);
    sum += model.weight;
  }
  weights::weighted_mean<T>(weights, params.normalize ? sum : 1.0, inputs, n, out);
}

template <class T>
void run(const TensorPass& pass, const LinearParams& params, std::span<const LinearModel> models) {
  weights::map<T>(pass.engine, pass.operands, *pass.sink,
                  [&](const weights::Tile<T>& tile, T* out) { mean<T>(tile.inputs, params, models, tile.count, out); });
}

void merge(const TensorPass& pass, const LinearParams& params, std::span<const LinearModel> models) {
  pass.wide() ? run<double>(pass, params, models) : run<float>(pass, params, models);
}

}  // namespace

void linear(std::span<const std::span<const float>> inputs, const LinearParams& params,
            std::span<const LinearModel> models, std::span<float> out) {
  check(params, models);
  std::vector<std::vector<float>> rows;
  std::vector<float*> pointers;
  for (const auto& input : inputs) pointers.push_back(rows.emplace_back(input.begin(), input.end()).data());
  mean<float>(pointers, params, models, static_cast<std::int64_t>(out.size()), out.data());
}

Method linear_method() {
  return {.name = "linear",
          .summary = "weighted mean of models",
          .citation = "Wortsman et al. 2022, arXiv 2203.05482",
          .base = BasePolicy::kAsModel,
          .min_models = 1,
          .program = [] { return typed_program<LinearParams, LinearModel>(merge, check); },
          .parameters = described_fields<LinearParams>,
          .model_parameters = described_fields<LinearModel>};
}

}  // namespace solera::merge
