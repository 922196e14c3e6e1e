#include "solera/merge/methods/spectral.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

#include "solera/base/files.h"
#include "solera/merge/methods/changes.h"
#include "solera/weights/dense.h"
#include "solera/weights/low_rank.h"
#include "solera/weights/spectral.h"

namespace solera::merge {
namespace {

using Formula = std::function<std::vector<double>(const MatrixChanges&)>;

template <class T>
void add_mean(const TensorPass& pass, double lambda, std::span<const SpectralModel> models) {
  map_changes<T>(pass, [&](const weights::Tile<T>& tile, std::span<T* const> changes, T* out) {
    std::fill_n(out, tile.count, T(0));
    for (std::size_t i = 0; i < models.size(); ++i)
      weights::add_scaled(static_cast<T>(models[i].weight), changes[i], tile.count, out);
    add_to_base(tile[0], lambda / static_cast<double>(models.size()), out, tile.count, out);
  });
}

}  // namespace

std::vector<double> MatrixChanges::sum() const {
  std::vector<double> all = change(0);
  for (std::size_t i = 1; i < tasks; ++i) {
    const std::vector<double> next = change(i);
    for (std::size_t x = 0; x < all.size(); ++x) all[x] = all[x] + next[x];
  }
  return all;
}

std::vector<double> product(Pool& pool, const std::vector<double>& left, const std::vector<double>& right,
                            std::int64_t rows, std::int64_t columns) {
  std::vector<double> result(static_cast<std::size_t>(rows * columns));
  const std::int64_t depth = rows > 0 ? std::ssize(left) / rows : 0;
  weights::add_product(pool, {.m = rows,
                              .n = columns,
                              .depth = depth,
                              .a = left.data(),
                              .a_row = depth,
                              .b = right.data(),
                              .b_row = columns,
                              .c = result.data(),
                              .c_row = columns});
  return result;
}

void Directions::add(const std::vector<double>& left, const std::vector<double>& more,
                     std::span<const double> some_values) {
  const std::vector<double> turned = weights::transposed(left, rows, std::ssize(some_values));
  left_transposed.insert(left_transposed.end(), turned.begin(), turned.end());
  right.insert(right.end(), more.begin(), more.end());
  values.insert(values.end(), some_values.begin(), some_values.end());
}

std::vector<double> Directions::orthonormal_left() const {
  return weights::transposed(weights::nearest_isometry(left_transposed, count(), rows), count(), rows);
}
std::vector<double> Directions::orthonormal_right() const { return weights::nearest_isometry(right, count(), columns); }

namespace detail {

std::uint64_t spectral_memory(std::span<const std::int64_t> shape, std::size_t models) {
  // A decomposition of a change; the directions of all, which for small matrices may be one a model; two more matrices.
  const std::int64_t rows = shape[0], columns = shape[1];
  const auto all = static_cast<std::uint64_t>(rows) * static_cast<std::uint64_t>(columns);
  const std::int64_t most = std::max(std::min(rows, columns), static_cast<std::int64_t>(models));
  const auto directions = static_cast<std::uint64_t>(most) * static_cast<std::uint64_t>(rows + columns);
  return weights::decomposition_bytes(std::max(rows, most), std::max(columns, most)) +
         sizeof(double) * (2 * directions + 2 * all);
}

void merge_mean(const TensorPass& pass, double lambda, std::span<const SpectralModel> models) {
  pass.wide() ? add_mean<double>(pass, lambda, models) : add_mean<float>(pass, lambda, models);
}

bool merge_matrix(const TensorPass& pass, double lambda, std::span<const SpectralModel> models,
                  const Formula& formula) {
  const auto n = static_cast<std::size_t>(pass.elements());
  if (n == 0) return false;
  std::atomic<bool> finite = true;
  const auto change = [&](std::size_t task) {
    throw_if_stopped();
    std::vector<double> result(n);
    const std::vector<weights::Operand> operands = {pass.operands.front(), pass.operands[task + 1]};
    weights::for_tiles<double>(
        pass.engine, operands, 0,
        [&](const weights::Tile<double>& tile, std::int64_t, int) {
          double* target = result.data() + tile.first;
          for (std::int64_t i = 0; i < tile.count; ++i) {
            target[i] = models[task].weight * tile[1][i];
            if (!std::isfinite(target[i])) finite = false;
          }
        },
        weights::Reading::kChanges);
    if (!finite) std::fill(result.begin(), result.end(), 0.0);
    return result;
  };
  std::vector<double> merged = formula({*pass.engine.pool, pass.shape[0], pass.shape[1], pass.models(), change});
  if (!finite) return false;
  merged.resize(n);
  weights::map<double>(pass.engine, pass.operands.first(1), *pass.sink,
                       [&](const weights::Tile<double>& tile, double* out) {
                         add_to_base(tile[0], lambda, merged.data() + tile.first, tile.count, out);
                       });
  return true;
}

void merge_in_memory(std::span<const float> base, std::span<const std::span<const float>> tuned, std::int64_t columns,
                     double lambda, std::span<const SpectralModel> models, const Formula& formula,
                     std::span<float> out) {
  if (base.empty()) return;
  const auto change = [&](std::size_t task) {
    std::vector<double> result(base.size());
    for (std::size_t i = 0; i < result.size(); ++i)
      result[i] = models[task].weight * (static_cast<double>(tuned[task][i]) - static_cast<double>(base[i]));
    return result;
  };
  Pool pool(1);
  std::vector<double> merged = formula({pool, std::ssize(base) / columns, columns, tuned.size(), change});
  merged.resize(base.size());
  const std::vector<double> origin(base.begin(), base.end());
  add_to_base(origin.data(), lambda, merged.data(), std::ssize(merged), merged.data());
  std::transform(merged.begin(), merged.end(), out.begin(), [](double v) { return static_cast<float>(v); });
}

}  // namespace detail
}  // namespace solera::merge
