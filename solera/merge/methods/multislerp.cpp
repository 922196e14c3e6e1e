#include "solera/merge/methods/multislerp.h"

#include <cmath>
#include <numeric>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::merge {

namespace {

void check(const MultislerpParams& params, std::span<const MultislerpModel> models) {
  double sum = 0;
  for (const MultislerpModel& model : models) sum += model.weight;
  if (params.normalize_weights && models.size() > 1 && sum == 0)
    throw usage_error("the weights sum to zero", "", "change a weight, or set normalize_weights: false");
}

void merge(const TensorPass& pass, const MultislerpParams& params, std::span<const MultislerpModel> models) {
  combine_tensors(pass, [&](const Gram& vectors) { return multislerp_factors(vectors, params, models, pass.name); });
}

}  // namespace

std::vector<double> multislerp_factors(const Gram& vectors, const MultislerpParams& params,
                                       std::span<const MultislerpModel> models, std::string_view tensor) {
  const std::size_t n = models.size();
  if (n == 1) return {1.0};
  std::vector<double> weights, directions(n);
  for (const MultislerpModel& model : models) weights.push_back(model.weight);
  if (params.normalize_weights) {
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (double& weight : weights) weight /= sum;
  }
  double length = 0, size = 0, square = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double norm = vectors.norm(i);
    directions[i] = norm == 0 ? 0 : weights[i] / (norm + params.eps);
    length += weights[i] * norm;
    size += norm;
  }
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) square += directions[i] * directions[j] * vectors.dot(i, j);
  const double mean = std::sqrt(std::max(square, 0.0));
  if (size == 0) return std::vector<double>(n, 0.0);
  if (mean < params.eps || mean == 0) {
    if (n == 2) return weights;
    throw input_error(cat("the weighted directions of ", tensor, " cancel, so that they have no mean"), "",
                      "change the weights, or --exclude the tensor");
  }
  for (double& factor : directions) factor *= length * std::cos(params.eps) / mean;
  return directions;
}

void multislerp(std::span<const float> base, std::span<const std::span<const float>> inputs,
                const MultislerpParams& params, std::span<const MultislerpModel> models, std::span<float> out) {
  check(params, models);
  combine(
      base, inputs, [&](const Gram& vectors) { return multislerp_factors(vectors, params, models, "the inputs"); },
      out);
}

Method multislerp_method() {
  return {.name = "multislerp",
          .summary = "mean direction of several models, with their mean norm",
          .citation = "Goddard, goddard.blog/posts/multislerp-wow-what-a-cool-idea",
          .base = BasePolicy::kOptional,
          .min_models = 1,
          .program = [] { return typed_program<MultislerpParams, MultislerpModel>(merge, check); },
          .parameters = described_fields<MultislerpParams>,
          .model_parameters = described_fields<MultislerpModel>};
}

}  // namespace solera::merge
