// Singular value decompositions of matrices in memory, float64, row-major: A = left diag(values) right.
//
// Only directions that the matrix has are given: those whose singular value is above rounding, max(rows, columns) 2^-52
// of the largest or of `scale`, the size of what the matrix is a difference of. What else a decomposition may list is
// arbitrary. The same bits for any number of threads: one is used.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace solera::weights {

struct Decomposition {
  std::int64_t rows = 0, columns = 0, rank = 0;
  std::vector<double> left, right;  // [rows, rank] and [rank, columns], orthonormal
  std::vector<double> values;       // [rank], falling
};

// Of at most `most` directions, the largest. Throws Error (internal) for values that are not finite.
Decomposition decompose(std::vector<double> matrix, std::int64_t rows, std::int64_t columns,
                        std::int64_t most = std::numeric_limits<std::int64_t>::max(), double scale = 0);

// left right of the decomposition: the nearest matrix whose singular values are all 1 (or 0 where the matrix has no
// direction), its polar factor.
std::vector<double> nearest_isometry(std::vector<double> matrix, std::int64_t rows, std::int64_t columns);

// The bytes that either needs at most, its argument and result included.
std::uint64_t decomposition_bytes(std::int64_t rows, std::int64_t columns);

}  // namespace solera::weights
