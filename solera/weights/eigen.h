// What this room's own users of Eigen share. No header of the room includes it: users of the library need no Eigen.
#pragma once

#include <Eigen/Dense>

namespace solera::weights {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Eigen's blocking, and with it the order of its sums, follows the size of the caches unless it is told one.
inline void fix_blocking() {
  static const bool done = [] {
    Eigen::setCpuCacheSizes(32 << 10, 256 << 10, 2 << 20);
    return true;
  }();
  (void)done;
}

struct Thin {
  Matrix u, v;  // columns are singular vectors
  Eigen::VectorXd values;
};

// Singular values and as many vectors, the largest first.
Thin thin_svd(const Matrix& m);

}  // namespace solera::weights
