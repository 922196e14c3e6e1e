#include "solera/weights/kth_largest.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <vector>

namespace solera::weights {

template <class T>
std::optional<Found<T>> find_rank(const BandCount& count, std::span<const T> inside, const Bracket<T>& bracket,
                                  std::int64_t rank) {
  std::int64_t wanted = rank - count.above;
  if (wanted <= 0) return std::nullopt;
  if (wanted <= count.at_high) return Found<T>{bracket.high, count.at_high, wanted};
  wanted -= count.at_high;
  if (wanted <= count.between) {
    const T value = kth_largest(inside, wanted);
    std::vector<T> unused(inside.size());
    const BandCount ties = count_band(inside.data(), value, value, count.between, unused.data());
    return Found<T>{value, ties.at_high, wanted - ties.above};
  }
  wanted -= count.between;
  if (wanted > count.at_low) return std::nullopt;
  return Found<T>{bracket.low, count.at_low, wanted};
}

template <class T>
Bracket<T> bracket_of(std::span<const T> magnitudes, double p, double spread) {
  const double m = static_cast<double>(magnitudes.size());
  const auto order = [&](double from_top) { return kth_largest(magnitudes, static_cast<std::int64_t>(from_top) + 1); };
  Bracket<T> result;
  if (p * m - spread >= 1) result.high = order(p * m - spread);
  if (p * m + spread < m - 1) result.low = order(p * m + spread);
  return result;
}

template <class T>
T kth_largest(std::span<const T> magnitudes, std::int64_t k) {
  constexpr std::size_t kEvery = 32;
  const auto n = static_cast<std::int64_t>(magnitudes.size());
  if (magnitudes.size() >= 64 * kEvery) {
    std::vector<T> part;
    for (std::size_t i = kEvery / 2; i < magnitudes.size(); i += kEvery) part.push_back(magnitudes[i]);
    const double p = static_cast<double>(k) / static_cast<double>(n), m = static_cast<double>(part.size());
    const Bracket<T> bracket = bracket_of<T>(part, p, 4 * std::sqrt(m * p * (1 - p)) + 3);
    const auto between = std::make_unique_for_overwrite<T[]>(magnitudes.size());
    const BandCount count = count_band(magnitudes.data(), bracket.low, bracket.high, n, between.get());
    const std::span<const T> inside(between.get(), static_cast<std::size_t>(count.between));
    // A bracket that holds much has told little: no deeper, so that no input makes this recurse long.
    if (2 * count.between < n)
      if (const auto found = find_rank(count, inside, bracket, k)) return found->value;
  }
  std::vector<T> copy(magnitudes.begin(), magnitudes.end());
  const auto nth = copy.begin() + (k - 1);
  std::nth_element(copy.begin(), nth, copy.end(), std::greater<>());
  return *nth;
}

#define SOLERA_INSTANTIATE(T)                                                                            \
  template std::optional<Found<T>> find_rank<T>(const BandCount&, std::span<const T>, const Bracket<T>&, \
                                                std::int64_t);                                           \
  template Bracket<T> bracket_of<T>(std::span<const T>, double, double);                                 \
  template T kth_largest<T>(std::span<const T>, std::int64_t)
SOLERA_INSTANTIATE(float);
SOLERA_INSTANTIATE(double);
#undef SOLERA_INSTANTIATE

}  // namespace solera::weights
