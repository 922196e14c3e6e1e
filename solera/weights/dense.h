// Small dense linear algebra in memory, float64: products of matrices, and systems with a symmetric positive definite
// matrix (Cholesky).
//
// Matrices are row-major. Every entry adds its products one after the other in the order k = 0, 1, ..., multiply and
// add apart, whatever the tiles: the same bits for any number of threads and on every CPU, which libraries of linear
// algebra do not promise. Everything runs on a pool, also from inside one of its loops.
#pragma once

#include <cstdint>
#include <optional>

#include "solera/base/threads.h"

namespace solera::weights {

// c[i][j] += factor sum_k a[i][k] b[k][j] for i < m, j < n, k < depth. Entry (i, k) of `a` lies at i a_row + k
// a_column, so that a transposed matrix needs no copy; b and c have rows of b_row and c_row entries.
struct Product {
  std::int64_t m = 0, n = 0, depth = 0;
  double factor = 1.0;
  const double* a = nullptr;
  std::int64_t a_row = 0, a_column = 1;
  const double* b = nullptr;
  std::int64_t b_row = 0;
  double* c = nullptr;
  std::int64_t c_row = 0;
};
void add_product(Pool& pool, const Product& product);

// The upper triangle of g [n, n] becomes U with U^T U = g; what lies below is not read. If a pivot is not above `least`
// times the diagonal entry it came from, returns its index, and g is of no use any more.
std::optional<std::int64_t> factor_cholesky(Pool& pool, double* g, std::int64_t n, double least = 1e-14);

// Every row r of `rows` [m, n] becomes the x with x U^T U = r.
void solve_cholesky(Pool& pool, const double* u, std::int64_t n, double* rows, std::int64_t m);

}  // namespace solera::weights
