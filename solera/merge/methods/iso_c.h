// Iso-C: the sum of the changes with one singular value for all of its directions, so that none drowns the others.
//
//   sum_i w_i (x_i - base) = U diag(s) V^T, [m, n], of rank r
//   out = base + lambda mean(s) U V^T
//
// Marczak, Magistri, Cygert, Twardowski, Bagdanov and van de Weijer, ICML 2025, arXiv 2502.04959, section 4.1. Tensors
// that are no matrices get base + lambda sum_i w_i tau_i / N (methods/spectral.h). r counts the directions that the sum
// has (weights/spectral.h); the authors' program takes min(m, n) and so gives the mean to arbitrary ones where changes
// are of low rank. lambda = 0 gives the base's bits. Cost: one read of each input and one decomposition a matrix;
// memory: some twenty times a matrix in float64.
#pragma once

#include <span>

#include "solera/merge/method.h"
#include "solera/merge/methods/spectral.h"

namespace solera::merge {

struct IsoCParams {
  double lambda = 1.0;
  bool spectral = true;
};
template <class Visitor>
void fields(IsoCParams& p, Visitor&& field) {
  spectral_fields(p, field);
}

// The formula for one matrix [n / columns, columns] in memory. `out` may be `base` itself. Requires equal sizes.
void iso_c(std::span<const float> base, std::span<const std::span<const float>> tuned, std::int64_t columns,
           const IsoCParams& params, std::span<const SpectralModel> models, std::span<float> out);

Method iso_c_method();

}  // namespace solera::merge
