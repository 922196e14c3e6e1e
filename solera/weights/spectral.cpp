#include "solera/weights/spectral.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "solera/base/error.h"
#include "solera/weights/eigen.h"

namespace solera::weights {
namespace {

// Of a matrix with at least as many rows as columns; a tall one by way of its triangle.
Thin tall_svd(Matrix m) {
  const Eigen::Index rows = m.rows(), columns = m.cols();
  if (rows < 2 * columns) return thin_svd(m);
  const Eigen::HouseholderQR<Eigen::Ref<Matrix>> qr(m);  // in place
  Thin inner = thin_svd(qr.matrixQR().topRows(columns).triangularView<Eigen::Upper>());
  Matrix u = Matrix::Zero(rows, columns);
  u.topRows(columns) = inner.u;
  u.applyOnTheLeft(qr.householderQ());
  inner.u = std::move(u);
  return inner;
}

// The directions above rounding.
Thin directions_of(const std::vector<double>& values, std::int64_t rows, std::int64_t columns, std::int64_t most,
                   double scale) {
  fix_blocking();
  const Eigen::Map<const Matrix> matrix(values.data(), rows, columns);
  if (!matrix.allFinite()) throw internal_error("a decomposition of values that are not finite");
  Thin thin;
  if (rows >= columns) {
    thin = tall_svd(matrix);
  } else {
    thin = tall_svd(matrix.transpose());
    std::swap(thin.u, thin.v);
  }
  const double largest = thin.values.size() > 0 ? thin.values(0) : 0;
  const double rounding = std::max(largest, scale) * std::ldexp(static_cast<double>(std::max(rows, columns)), -52);
  std::int64_t rank = 0;
  while (rank < std::min<std::int64_t>(most, thin.values.size()) && thin.values(rank) > rounding) ++rank;
  thin.u = thin.u.leftCols(rank).eval();
  thin.v = thin.v.leftCols(rank).eval();
  thin.values = thin.values.head(rank).eval();
  return thin;
}

}  // namespace

Decomposition decompose(std::vector<double> matrix, std::int64_t rows, std::int64_t columns, std::int64_t most,
                        double scale) {
  const Thin thin = directions_of(matrix, rows, columns, most, scale);
  const Matrix right = thin.v.transpose();
  return {rows,
          columns,
          thin.values.size(),
          {thin.u.data(), thin.u.data() + thin.u.size()},
          {right.data(), right.data() + right.size()},
          {thin.values.data(), thin.values.data() + thin.values.size()}};
}

std::vector<double> nearest_isometry(std::vector<double> matrix, std::int64_t rows, std::int64_t columns) {
  const Thin thin = directions_of(matrix, rows, columns, std::min(rows, columns), 0);
  Eigen::Map<Matrix>(matrix.data(), rows, columns).noalias() = thin.u * thin.v.transpose();
  return matrix;
}

std::uint64_t decomposition_bytes(std::int64_t rows, std::int64_t columns) {
  // The matrix and copies of it, both factors, and what dividing and conquering takes of squares of the smaller side.
  const auto all = static_cast<std::uint64_t>(rows) * static_cast<std::uint64_t>(columns);
  const auto side = static_cast<std::uint64_t>(std::min(rows, columns));
  return sizeof(double) * (7 * all + 8 * side * side + 64 * side);
}

}  // namespace solera::weights
