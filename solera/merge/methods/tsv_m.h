// TSV-Merge: the leading singular directions of every fine-tune's change, made orthogonal to the other fine-tunes'.
//
//   tau_i = w_i (x_i - base) = U_i diag(s_i) V_i^T, [m, n];   k = max(1, floor(min(m, n) / N)) directions of each are
//   kept U = [U_1 ... U_N], V = [V_1 ... V_N], s = [s_1 ... s_N] out = base + lambda U* diag(s) V*^T, X* = P Q^T where
//   X = P diag(d) Q^T: the nearest to X with
//                                                              orthonormal columns
//
// Gargiulo, Crisostomi, Bucarelli, Scardapane, Silvestri and Rodola, CVPR 2025, arXiv 2412.00081. Tensors that are no
// matrices get base + lambda sum_i w_i tau_i / N (methods/spectral.h). Where directions repeat each other U has fewer
// than it has columns, P and Q only list those that are there, and what the others would add is nothing; the authors'
// program fills them with whatever its decomposition lists. One model comes back whole. lambda = 0 gives the base's
// bits. Cost: one read of each input and N + 2 decompositions a matrix; memory: some twenty times a
// matrix in float64.
#pragma once

#include <span>

#include "solera/merge/method.h"
#include "solera/merge/methods/spectral.h"

namespace solera::merge {

struct TsvParams {
  double lambda = 1.0;
  bool spectral = true;
};
template <class Visitor>
void fields(TsvParams& p, Visitor&& field) {
  spectral_fields(p, field);
}

// The formula for one matrix [n / columns, columns] in memory. `out` may be `base` itself. Requires equal sizes.
void tsv_m(std::span<const float> base, std::span<const std::span<const float>> tuned, std::int64_t columns,
           const TsvParams& params, std::span<const SpectralModel> models, std::span<float> out);

Method tsv_m_method();

}  // namespace solera::merge
