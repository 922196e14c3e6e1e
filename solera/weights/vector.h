// Arithmetic on tiles: the loops that merge methods and statistics are made of.
//
// T is float or double throughout. Multiplication and addition are rounded apart (no fused multiply-add), sums of a row
// of inputs run in the order given, and long sums run over sixteen fixed lanes, so every SIMD target gives the same
// bits. Spans of one call have the same length; outputs may be one of the inputs, never overlap one partly.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace solera::weights {

// out = (sum_k coefficients[k] inputs[k]) / divisor, in float64, rounded to T once: equal inputs with equal
// coefficients come back exactly.
template <class T>
void weighted_mean(std::span<const double> coefficients, double divisor, std::span<T* const> inputs, std::int64_t n,
                   T* out);

template <class T>
void difference(const T* x, const T* base, std::int64_t n, T* out);  // out = x - base
template <class T>
void add_scaled(T c, const T* x, std::int64_t n, T* sum);  // sum = sum + c x
template <class T>
void scaled_sum(T a, const T* x, T b, const T* y, std::int64_t n, T* out);  // out = a x + b y

// Keeps d where low < |d| <= high and puts 0 elsewhere, in place.
template <class T>
void keep_band(T low, T high, std::int64_t n, T* d);

// sum = sum + c d where low < |d| <= high: keep_band() and add_scaled() in one sweep.
template <class T>
void add_scaled_band(T c, T low, T high, const T* d, std::int64_t n, T* sum);

// How many magnitudes lie above high, at it, and at low; those strictly between are written to `between`, in order.
struct BandCount {
  std::int64_t above = 0, at_high = 0, between = 0, at_low = 0;
};
template <class T>
BandCount count_band(const T* d, T low, T high, std::int64_t n, T* between);  // room for n in `between`

// Over rows of changes, how many places hold a change in any row, in all rows, and changes of both signs.
struct SignCount {
  std::int64_t any = 0, all = 0, mixed = 0;
};
template <class T>
SignCount count_signs(std::span<T* const> rows, std::int64_t n);

// The sign election of TIES over rows of masked changes d_k (Yadav et al. 2023, section 3.2, steps 2 and 3):
//   vote = sum_k v_k d_k with v_k = weights[k] or 1; its sign, or `sign_of_zero` where it is 0, is elected;
//   out  = sum of weights[k] d_k over the k whose term has that sign, divided by the sum of their weights if
//   `normalize`
//          (a sum of 0 counts as 1).
struct Election {
  bool weighted_vote = true;
  bool normalize = true;
  bool zero_is_positive = true;
  double least_divisor = 0;  // a smaller divisor counts as this; 0: none does
};
template <class T>
void elect(const Election& rule, std::span<const T> weights, std::span<T* const> rows, std::int64_t n, T* out);

// A long sum of products over sixteen lanes: entry i goes to lane i mod 16. Feed tiles whose lengths are multiples of
// 16, the last excepted.
struct LaneSum {
  std::array<double, 16> lanes{};
  template <class T>
  void add_product(const T* a, const T* b, std::int64_t n);  // lanes += a b
  template <class T>
  void add(const T* a, std::int64_t n);  // lanes += a
  template <class T>
  void add_magnitudes(const T* a, std::int64_t n);  // lanes += |a|
  void merge(const LaneSum& right) {                // the neighbour block's lanes
    for (std::size_t i = 0; i < lanes.size(); ++i) lanes[i] = lanes[i] + right.lanes[i];
  }
  double total() const;  // fixed tree over the lanes
};

}  // namespace solera::weights
