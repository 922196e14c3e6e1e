// Arithmetic on tiles where each entry decides for itself how much of each input it takes: see vector.h for the rules
// that all of it follows.
#pragma once

#include <cstdint>
#include <span>

namespace solera::weights {

// out = a + w (b - a), as w b + (1 - w) a, with w = t / max(|a - b|, 1e-6) between 0 and 1.
template <class T>
void near_swap(T t, const T* a, const T* b, std::int64_t n, T* out);

// The mean of the changes above epsilon in magnitude; one that stands alone times its row's factor; 0 where there is
// none.
template <class T>
void mean_of_active(T epsilon, std::span<const T> alone, std::span<T* const> rows, std::int64_t n, T* out);

// How many of each row's changes above epsilon are shared with another row, and how many stand alone: added to both.
template <class T>
void count_active(T epsilon, std::span<T* const> rows, std::int64_t n, std::span<std::int64_t> shared,
                  std::span<std::int64_t> alone);

// out = the sum of the rows where at least `agree` of them are as large as `strictness[k]` times the rest of the sum, 0
// elsewhere.
template <class T>
void sum_where_agreed(std::int64_t agree, std::span<const T> strictness, std::span<T* const> rows, std::int64_t n,
                      T* out);

// out = the population variance of the rows, in float64, rounded once.
template <class T>
void variance_of(std::span<T* const> rows, std::int64_t n, T* out);

// out = b where |score| >= threshold, a elsewhere.
template <class T>
void take_above(T threshold, const T* score, const T* a, const T* b, std::int64_t n, T* out);

// values = values where score > 0, 0 elsewhere.
template <class T>
void keep_where_positive(const T* score, std::int64_t n, T* values);

// sums = sums + a b, entry by entry in float64: sums over the rows of a matrix, one a column.
template <class T>
void add_products(const T* a, const T* b, std::int64_t n, double* sums);

// out = origin + fa a + fb b with factors for every entry, in float64, rounded once; `origin` may be null.
template <class T>
void add_scaled_by(const T* origin, const double* fa, const T* a, const double* fb, const T* b, std::int64_t n, T* out);

}  // namespace solera::weights
