// Sums over the first axis of a tensor, one a column: what a vector along axis 0 has for a norm.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "solera/weights/pass.h"

namespace solera::weights {

// The pieces of elements [first, first + n) that lie within a row of `columns`: piece(offset, column, count).
template <class Piece>
void for_row_pieces(std::int64_t first, std::int64_t n, std::int64_t columns, Piece piece) {
  for (std::int64_t at = 0; at < n;) {
    const std::int64_t column = (first + at) % columns, count = std::min(n - at, columns - column);
    piece(at, column, count);
    at += count;
  }
}

// Products of two operands a and b, summed over the `rows` of a tensor in float64.
struct ColumnProducts {
  std::vector<double> aa, bb, ab;
};

// Rows are added one after the other within up to sixteen groups of neighbours, then group after group: the same bits
// for any number of threads. `rows` divides the elements.
template <class T>
ColumnProducts column_products(const Engine& engine, std::span<const Operand> operands, std::int64_t rows,
                               Reading reading, std::size_t a, std::size_t b);

// The bytes that its sums take for a tensor of this shape, whose first axis are the rows.
std::uint64_t column_memory(std::span<const std::int64_t> shape);

}  // namespace solera::weights
