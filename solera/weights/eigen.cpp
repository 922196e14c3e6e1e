// Apart from its users, since no other template of Eigen takes a compiler so long.
#include "solera/weights/eigen.h"

namespace solera::weights {

Thin thin_svd(const Matrix& m) {
  fix_blocking();
  const Eigen::BDCSVD<Matrix> svd(m, Eigen::ComputeThinU | Eigen::ComputeThinV);
  return {svd.matrixU(), svd.matrixV(), svd.singularValues()};
}

}  // namespace solera::weights
