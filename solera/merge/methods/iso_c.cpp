#include "solera/merge/methods/iso_c.h"

#include <numeric>
#include <vector>

#include "solera/weights/spectral.h"

namespace solera::merge {
namespace {

std::vector<double> merged_change(const MatrixChanges& changes, const IsoCParams&) {
  auto sum = weights::decompose(changes.sum(), changes.rows, changes.columns);
  if (sum.rank == 0) return {};
  const double mean = std::accumulate(sum.values.begin(), sum.values.end(), 0.0) / static_cast<double>(sum.rank);
  for (double& v : sum.right) v *= mean;
  return product(changes.pool, sum.left, sum.right, changes.rows, changes.columns);
}

}  // namespace

void iso_c(std::span<const float> base, std::span<const std::span<const float>> tuned, std::int64_t columns,
           const IsoCParams& params, std::span<const SpectralModel> models, std::span<float> out) {
  merge_in_memory(merged_change, base, tuned, columns, params, models, out);
}

Method iso_c_method() {
  return {.name = "iso_c",
          .summary = "the sum of the changes with all its singular values made equal",
          .citation = "Marczak et al. 2025, arXiv 2502.04959",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = []() -> std::unique_ptr<Program> {
            return std::make_unique<SpectralProgram<IsoCParams>>(merged_change);
          },
          .parameters = described_fields<IsoCParams>,
          .model_parameters = described_fields<SpectralModel>};
}

}  // namespace solera::merge
