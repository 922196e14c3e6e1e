// What one pass over a tensor says of it: moments, extremes, norms, and how many values are no numbers.
#pragma once

#include <cstdint>

#include "solera/weights/pass.h"

namespace solera::weights {

// Sums and moments are of the finite values, in float64.
struct Statistics {
  std::int64_t count = 0;  // of all values
  std::int64_t nan = 0, infinite = 0, zeros = 0;
  double min = 0, max = 0;  // 0 where there is no finite value
  double mean = 0;
  double variance = 0;    // of the population
  double l1 = 0, l2 = 0;  // norms

  std::int64_t finite() const { return count - nan - infinite; }
};

// Values that are not finite are counted, never refused. Integers count as numbers.
Statistics statistics(const Engine& engine, const Operand& operand);

}  // namespace solera::weights
