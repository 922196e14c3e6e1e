// Iso-CTS: directions that the changes share and directions that each has of its own, all with one singular value.
//
//   tau_i = w_i (x_i - base), [m, n], r = min(m, n);   sum_i tau_i = U diag(s) V^T
//   p = min(round((r - floor(common r)) / N), floor(r / N)) directions for each task, c = r - N p in common
//   tau_i - U_c U_c^T tau_i = U_i diag(s_i) V_i^T      of which the leading p are kept, and of U, s and V the leading c
//   out = base + lambda mean([s_1 ... s_N s_c]) U* V*^T    U* and V* the nearest to [U_1 ... U_N U_c] and [V_1 ... V_N
//   V_c]
//                                                          with orthonormal columns
//
// Marczak, Magistri, Cygert, Twardowski, Bagdanov and van de Weijer, ICML 2025, arXiv 2502.04959, section 4.2; rounding
// (halves to even) and order as in the authors' program. Tensors that are no matrices get base + lambda sum_i w_i tau_i
// / N (methods/spectral.h). Directions that a matrix does not have are left out, of the mean, too. common: 1 is Iso-C.
// lambda = 0 gives the base's bits. Cost: two reads of each input and N + 3 decompositions a matrix; memory: some
// twenty times a matrix in float64.
#pragma once

#include <span>

#include "solera/merge/method.h"
#include "solera/merge/methods/spectral.h"

namespace solera::merge {

struct IsoCtsParams {
  double lambda = 1.0;
  double common = 0.8;
  bool spectral = true;
};
template <class Visitor>
void fields(IsoCtsParams& p, Visitor&& field) {
  spectral_fields(p, field);
  field("common", p.common, "fraction of the directions taken from the sum of the changes", "[0, 1]")
      .alias("common_space_fraction");
}

// p of the formula.
std::int64_t directions_per_task(double common, std::int64_t directions, std::int64_t tasks);

// The formula for one matrix [n / columns, columns] in memory. `out` may be `base` itself. Requires equal sizes.
void iso_cts(std::span<const float> base, std::span<const std::span<const float>> tuned, std::int64_t columns,
             const IsoCtsParams& params, std::span<const SpectralModel> models, std::span<float> out);

Method iso_cts_method();

}  // namespace solera::merge
