#include "solera/merge/methods/model_stock.h"

#include <algorithm>
#include <cmath>

namespace solera::merge {

namespace {

std::vector<double> factors(const Gram& changes) {
  const auto n = static_cast<double>(changes.size());
  return std::vector<double>(changes.size(), model_stock_ratio(changes) / n);
}

void merge(const TensorPass& pass, const ModelStockParams& params, std::span<const NoParams>) {
  params.filter_wise ? combine_rows(pass, factors) : combine_tensors(pass, factors);
}

}  // namespace

double model_stock_ratio(const Gram& changes) {
  constexpr double kTiny = 1e-6;
  const std::size_t n = changes.size();
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = i + 1; j < n; ++j)
      sum += std::clamp(changes.dot(i, j) / std::max(changes.norm(i) * changes.norm(j), kTiny), -1.0, 1.0);
  const auto count = static_cast<double>(n);
  const double cosine = sum / (count * (count - 1) / 2), divisor = 1 + (count - 1) * cosine;
  return std::abs(divisor) < kTiny ? 0.0 : count * cosine / divisor;
}

void model_stock(std::span<const float> base, std::span<const std::span<const float>> tuned, std::span<float> out) {
  combine(base, tuned, factors, out);
}

Method model_stock_method() {
  return {.name = "model_stock",
          .summary = "from the base towards the mean, by the fine-tunes' angle",
          .citation = "Jang et al. 2024, arXiv 2403.19522",
          .base = BasePolicy::kRequired,
          .min_models = 2,
          .program = [] { return typed_program<ModelStockParams, NoParams>(merge); },
          .parameters = described_fields<ModelStockParams>,
          .model_parameters = described_fields<NoParams>};
}

}  // namespace solera::merge
