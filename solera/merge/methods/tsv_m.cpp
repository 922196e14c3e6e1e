#include "solera/merge/methods/tsv_m.h"

#include <algorithm>
#include <vector>

#include "solera/weights/spectral.h"

namespace solera::merge {
namespace {

std::vector<double> merged_change(const MatrixChanges& changes, const TsvParams&) {
  const std::int64_t rows = changes.rows, columns = changes.columns;
  const std::int64_t kept =
      std::max<std::int64_t>(1, std::min(rows, columns) / static_cast<std::int64_t>(changes.tasks));
  Directions all(rows, columns);
  for (std::size_t i = 0; i < changes.tasks; ++i) {
    const auto one = weights::decompose(changes.change(i), rows, columns, kept);
    all.add(one.left, one.right, one.values);
  }
  if (all.count() == 0) return {};
  std::vector<double> right = all.orthonormal_right();
  for (std::int64_t k = 0; k < all.count(); ++k)
    for (std::int64_t j = 0; j < columns; ++j)
      right[static_cast<std::size_t>(k * columns + j)] *= all.values[static_cast<std::size_t>(k)];
  return product(changes.pool, all.orthonormal_left(), right, rows, columns);
}

}  // namespace

void tsv_m(std::span<const float> base, std::span<const std::span<const float>> tuned, std::int64_t columns,
           const TsvParams& params, std::span<const SpectralModel> models, std::span<float> out) {
  merge_in_memory(merged_change, base, tuned, columns, params, models, out);
}

Method tsv_m_method() {
  return {.name = "tsv_m",
          .summary = "every fine-tune's leading singular directions, made orthogonal to the others'",
          .citation = "Gargiulo et al. 2025, arXiv 2412.00081",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = []() -> std::unique_ptr<Program> {
            return std::make_unique<SpectralProgram<TsvParams>>(merged_change);
          },
          .parameters = described_fields<TsvParams>,
          .model_parameters = described_fields<SpectralModel>};
}

}  // namespace solera::merge
