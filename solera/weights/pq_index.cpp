#include "solera/weights/pq_index.h"

#include <algorithm>
#include <cmath>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::weights {

namespace {

void require_norms(const PqNorms& norms) {
  if (norms.p > 0 && norms.q > norms.p && std::isfinite(norms.q)) return;
  throw usage_error(cat("PQ Index needs 0 < p < q (got p=", number_text(norms.p), ", q=", number_text(norms.q), ")"));
}

double power(double magnitude, double exponent) {
  if (exponent == 1.0) return magnitude;
  if (exponent == 2.0) return magnitude * magnitude;
  if (exponent == 0.5) return std::sqrt(magnitude);
  return std::pow(magnitude, exponent);
}

}  // namespace

void PowerSums::merge(const PowerSums& right) {
  count += right.count;
  p = p + right.p;
  q = q + right.q;
}

double pq_index(const PowerSums& sums, const PqNorms& norms) {
  require_norms(norms);
  if (sums.count == 0 || sums.q == 0) return 0;
  const auto n = static_cast<double>(sums.count);
  const double index = 1.0 - std::pow(sums.p / n, 1.0 / norms.p) / std::pow(sums.q / n, 1.0 / norms.q);
  return std::max(0.0, index);  // equal magnitudes may round to just below
}

PowerSums power_sums(std::span<const double> values, const PqNorms& norms, std::span<const bool> active) {
  require_norms(norms);
  PowerSums sums;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!active.empty() && !active[i]) continue;
    if (!std::isfinite(values[i])) throw input_error(cat("PQ Index of a value that is not finite, entry ", i));
    const double magnitude = std::abs(values[i]);
    ++sums.count;
    sums.p = sums.p + power(magnitude, norms.p);
    sums.q = sums.q + power(magnitude, norms.q);
  }
  return sums;
}

PowerSums power_sums(const Engine& engine, const Operand& operand, const PqNorms& norms) {
  require_norms(norms);
  return reduce<double, PowerSums>(engine, std::span(&operand, 1), [&](const Tile<double>& tile, PowerSums& state) {
    for (std::int64_t i = 0; i < tile.count; ++i) {
      const double magnitude = std::abs(tile[0][i]);
      state.p = state.p + power(magnitude, norms.p);
      state.q = state.q + power(magnitude, norms.q);
    }
    state.count += tile.count;
  });
}

}  // namespace solera::weights
