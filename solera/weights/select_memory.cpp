// Selection in memory, and what a cut does to values.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "solera/weights/kth_largest.h"
#include "solera/weights/select.h"
#include "solera/weights/vector.h"

namespace solera::weights {

template <class T>
Cut<T> end_cut(std::int64_t rank) {
  if (rank <= 0) return {std::numeric_limits<T>::infinity(), 0, -1};
  return {T(0), std::numeric_limits<std::size_t>::max(), -1};
}

template <class T>
Cut<T> select_cut(std::span<const T> values, std::int64_t rank) {
  const auto n = static_cast<std::int64_t>(values.size());
  if (rank <= 0 || rank >= n) return end_cut<T>(rank);
  std::vector<T> magnitudes(values.size());
  std::transform(values.begin(), values.end(), magnitudes.begin(), [](T v) { return std::abs(v); });
  Cut<T> cut{kth_largest<T>(magnitudes, rank), 0, -1};
  std::int64_t wanted =
      rank - std::count_if(values.begin(), values.end(), [&](T v) { return std::abs(v) > cut.value; });
  for (std::int64_t i = 0; wanted > 0; ++i)
    if (std::abs(values[static_cast<std::size_t>(i)]) == cut.value) {
      cut.last = i;
      --wanted;
    }
  return cut;
}

namespace {

// The largest float below: with it `>= v` is `> below(v)`.
template <class T>
T below(T v) {
  return v == 0 ? T(-1) : std::nextafter(v, T(0));
}

// Calls piece(low, high, at, count) for up to three stretches of [0, n), between the places where the ties of either
// cut end: there, the band is low < magnitude <= high.
template <class T, class Piece>
void for_pieces(const Cut<T>& upper, const Cut<T>& lower, std::size_t segment, std::int64_t first, std::int64_t n,
                Piece piece) {
  const std::int64_t upper_end = std::clamp<std::int64_t>(upper.ties_end(segment) - first, 0, n);
  const std::int64_t lower_end = std::clamp<std::int64_t>(lower.ties_end(segment) - first, 0, n);
  std::int64_t at = 0;
  for (const std::int64_t end : {std::min(upper_end, lower_end), std::max(upper_end, lower_end), n}) {
    if (end <= at) continue;
    piece(at < lower_end ? below(lower.value) : lower.value, at < upper_end ? below(upper.value) : upper.value, at,
          end - at);
    at = end;
  }
}

}  // namespace

template <class T>
void keep_between(const Cut<T>& upper, const Cut<T>& lower, std::size_t segment, std::int64_t first, std::int64_t n,
                  T* values) {
  for_pieces(upper, lower, segment, first, n,
             [&](T low, T high, std::int64_t at, std::int64_t count) { keep_band(low, high, count, values + at); });
}

template <class T>
void add_between(const Cut<T>& upper, const Cut<T>& lower, std::size_t segment, std::int64_t first, std::int64_t n, T c,
                 const T* values, T* sum) {
  for_pieces(upper, lower, segment, first, n, [&](T low, T high, std::int64_t at, std::int64_t count) {
    add_scaled_band(c, low, high, values + at, count, sum + at);
  });
}

#define SOLERA_INSTANTIATE(T)                                                                               \
  template Cut<T> end_cut<T>(std::int64_t);                                                                 \
  template Cut<T> select_cut<T>(std::span<const T>, std::int64_t);                                          \
  template void keep_between<T>(const Cut<T>&, const Cut<T>&, std::size_t, std::int64_t, std::int64_t, T*); \
  template void add_between<T>(const Cut<T>&, const Cut<T>&, std::size_t, std::int64_t, std::int64_t, T, const T*, T*)
SOLERA_INSTANTIATE(float);
SOLERA_INSTANTIATE(double);
#undef SOLERA_INSTANTIATE

}  // namespace solera::weights
