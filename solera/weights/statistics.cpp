#include "solera/weights/statistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "solera/weights/vector.h"

namespace solera::weights {

namespace {

struct Moments {
  Statistics counts;
  double min = std::numeric_limits<double>::infinity(), max = -std::numeric_limits<double>::infinity();
  LaneSum sum, magnitude, square;
  // The mean and the squared deviations of a finished block; combined as Chan, Golub and LeVeque 1979 do.
  double mean = 0, deviations = 0;
  std::int64_t settled = 0;

  template <class T>
  void add(const Tile<T>& tile, T* magnitudes) {
    T* v = tile[0];
    for (std::int64_t i = 0; i < tile.count; ++i) {
      if (!std::isfinite(v[i])) {
        ++(std::isnan(v[i]) ? counts.nan : counts.infinite);
        v[i] = 0;
        magnitudes[i] = 0;
        continue;
      }
      counts.zeros += v[i] == 0;
      min = std::min(min, static_cast<double>(v[i]));
      max = std::max(max, static_cast<double>(v[i]));
      magnitudes[i] = std::abs(v[i]);
    }
    counts.count += tile.count;
    sum.add(v, tile.count);
    magnitude.add(magnitudes, tile.count);
    square.add_product(v, v, tile.count);
  }

  void settle() {
    const std::int64_t n = counts.finite();
    if (settled == n || n == 0) return;
    const double total = sum.total();
    mean = total / static_cast<double>(n);
    deviations = std::max(0.0, square.total() - total * mean);
    settled = n;
  }

  void merge(Moments right) {
    settle();
    right.settle();
    if (right.settled > 0) {
      const double share = static_cast<double>(right.settled) / static_cast<double>(settled + right.settled);
      const double gap = right.mean - mean;
      deviations = deviations + right.deviations + gap * gap * static_cast<double>(settled) * share;
      mean = mean + gap * share;
      settled += right.settled;
    }
    counts.count += right.counts.count;
    counts.nan += right.counts.nan;
    counts.infinite += right.counts.infinite;
    counts.zeros += right.counts.zeros;
    min = std::min(min, right.min);
    max = std::max(max, right.max);
    sum.merge(right.sum);
    magnitude.merge(right.magnitude);
    square.merge(right.square);
  }
};

template <class T>
Statistics measure(const Engine& engine, const Operand& operand) {
  Engine lenient = engine;
  lenient.allow_nonfinite = true;
  auto all = reduce<T, Moments>(lenient, std::span(&operand, 1), [](const Tile<T>& tile, Moments& state) {
    std::array<T, kTile> magnitudes;
    state.add(tile, magnitudes.data());
  });
  all.settle();
  Statistics result = all.counts;
  const std::int64_t n = result.finite();
  if (n == 0) return result;
  result.min = all.min;
  result.max = all.max;
  result.mean = all.mean;
  result.variance = all.deviations / static_cast<double>(n);
  result.l1 = all.magnitude.total();
  result.l2 = std::sqrt(all.square.total());
  return result;
}

}  // namespace

Statistics statistics(const Engine& engine, const Operand& operand) {
  const bool wide = needs_double(std::span(&operand, 1)) || checkpoint::is_integer(operand.tensor->dtype);
  return wide ? measure<double>(engine, operand) : measure<float>(engine, operand);
}

}  // namespace solera::weights
