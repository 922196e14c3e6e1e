#include "solera/merge/methods/iso_cts.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/weights/dense.h"
#include "solera/weights/low_rank.h"
#include "solera/weights/spectral.h"

namespace solera::merge {
namespace {

void check(const IsoCtsParams& params, std::span<const SpectralModel>) {
  if (!in_range(params.common, "[0, 1]"))
    throw usage_error(cat("\"common\" is ", number_text(params.common), ", outside [0, 1]"));
}

// matrix -= left left^T matrix, with `left` [rows, count].
void remove_directions(Pool& pool, const std::vector<double>& left, std::int64_t count, std::int64_t rows,
                       std::int64_t columns, std::vector<double>& matrix) {
  if (count == 0) return;
  const auto inside = product(pool, weights::transposed(left, rows, count), matrix, count, columns);
  weights::add_product(pool, {.m = rows,
                              .n = columns,
                              .depth = count,
                              .factor = -1.0,
                              .a = left.data(),
                              .a_row = count,
                              .b = inside.data(),
                              .b_row = columns,
                              .c = matrix.data(),
                              .c_row = columns});
}

std::vector<double> merged_change(const MatrixChanges& changes, const IsoCtsParams& params) {
  const std::int64_t rows = changes.rows, columns = changes.columns, most = std::min(rows, columns);
  const auto tasks = static_cast<std::int64_t>(changes.tasks);
  const std::int64_t own = directions_per_task(params.common, most, tasks);
  const auto shared = weights::decompose(changes.sum(), rows, columns, most - tasks * own);
  Directions all(rows, columns);
  for (std::size_t i = 0; own > 0 && i < changes.tasks; ++i) {
    std::vector<double> rest = changes.change(i);
    const double size = std::sqrt(std::inner_product(rest.begin(), rest.end(), rest.begin(), 0.0));
    remove_directions(changes.pool, shared.left, shared.rank, rows, columns, rest);
    const auto one = weights::decompose(std::move(rest), rows, columns, own, size);
    all.add(one.left, one.right, one.values);
  }
  all.add(shared.left, shared.right, shared.values);
  if (all.count() == 0) return {};
  const double mean = std::accumulate(all.values.begin(), all.values.end(), 0.0) / static_cast<double>(all.count());
  std::vector<double> right = all.orthonormal_right();
  for (double& v : right) v *= mean;
  return product(changes.pool, all.orthonormal_left(), right, rows, columns);
}

}  // namespace

std::int64_t directions_per_task(double common, std::int64_t directions, std::int64_t tasks) {
  const std::int64_t rest = directions - floor_count(common, directions);
  const std::int64_t down = rest / tasks, twice = 2 * (rest % tasks);
  const bool up = twice > tasks || (twice == tasks && down % 2 == 1);
  return std::min(down + (up ? 1 : 0), directions / tasks);
}

void iso_cts(std::span<const float> base, std::span<const std::span<const float>> tuned, std::int64_t columns,
             const IsoCtsParams& params, std::span<const SpectralModel> models, std::span<float> out) {
  check(params, models);
  merge_in_memory(merged_change, base, tuned, columns, params, models, out);
}

Method iso_cts_method() {
  return {.name = "iso_cts",
          .summary = "directions that the changes share and those of each, all with one singular value",
          .citation = "Marczak et al. 2025, arXiv 2502.04959",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = []() -> std::unique_ptr<Program> {
            return std::make_unique<SpectralProgram<IsoCtsParams>>(merged_change, check);
          },
          .parameters = described_fields<IsoCtsParams>,
          .model_parameters = described_fields<SpectralModel>};
}

}  // namespace solera::merge
