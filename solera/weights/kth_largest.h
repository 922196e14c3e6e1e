// The exact k-th largest of magnitudes in memory, and the arithmetic of brackets that selection out of core shares.
//
// A sample of the magnitudes brackets the rank, one sweep counts what lies above the bracket and collects what lies
// inside, and the search goes on in there: many times faster than partitioning everything.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include "solera/weights/vector.h"

namespace solera::weights {

// Two magnitudes, low <= high, between which a rank is looked for.
template <class T>
struct Bracket {
  T low = 0, high = std::numeric_limits<T>::infinity();
};

// The magnitude of a rank, how many entries have it, and how many of those have at most this rank.
template <class T>
struct Found {
  T value = 0;
  std::int64_t ties = 0, wanted = 0;
};

// The k-th largest, k from 1 to the number of magnitudes.
template <class T>
T kth_largest(std::span<const T> magnitudes, std::int64_t k);

// Order statistics around the p-quantile (from the top) of magnitudes, `spread` places to both sides.
template <class T>
Bracket<T> bracket_of(std::span<const T> magnitudes, double p, double spread);

// Rank `rank` (from 1) given the count of a bracket and the magnitudes inside it; none if it lies outside.
template <class T>
std::optional<Found<T>> find_rank(const BandCount& count, std::span<const T> inside, const Bracket<T>& bracket,
                                  std::int64_t rank);

}  // namespace solera::weights
