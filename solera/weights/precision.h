// Means in which every single element has a weight of its own.
//
// As in vector.h: T is float or double, every SIMD target gives the same bits.
#pragma once

#include <cstdint>
#include <span>

namespace solera::weights {

// The mean of values x_k whose elements are known with precisions f_k >= 0, in float64, rounded to T once:
//
//   out = sum_k c_k max(f_k, floor_k) x_k / sum_k c_k max(f_k, floor_k);   x_0 where the divisor is below `tiny`
template <class T>
void precision_mean(std::span<const double> coefficients, std::span<const double> floors, double tiny,
                    std::span<T* const> values, std::span<T* const> precisions, std::int64_t n, T* out);

// Are all entries numbers that are not below 0? False for NaN.
template <class T>
bool all_nonnegative(const T* values, std::int64_t n);

}  // namespace solera::weights
