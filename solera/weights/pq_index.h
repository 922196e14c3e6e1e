// PQ Index: how unequal, and so how compressible, a vector of weights is; 0 if all magnitudes are equal, towards 1 if
// one dominates.
//
//   I_pq(w) = 1 - d^(1/q - 1/p) ||w||_p / ||w||_q = 1 - M_p / M_q         M_r = (mean_i |w_i|^r)^(1/r),  0 < p < q
//
// Diao, Wang, Zhang, Yang, Ding and Tarokh, ICLR 2023, arXiv 2302.05601 (definition 1). Invariant to scale, sign, order
// and repetition; at most 1 - d^(1/q - 1/p). Only active entries count: an active zero does, a masked one does not. A
// vector of zeros has index 0 by convention. Cost: one read; two power sums in float64.
#pragma once

#include <cstdint>
#include <span>

#include "solera/weights/pass.h"

namespace solera::weights {

struct PqNorms {
  double p = 0.5;
  double q = 1.0;
};

// Sums of |w|^p and |w|^q over so many entries; vectors are joined by adding them up.
struct PowerSums {
  std::int64_t count = 0;
  double p = 0, q = 0;
  void merge(const PowerSums& right);
};

// Throws Error (usage): "PQ Index needs 0 < p < q (got p=1, q=1)".
double pq_index(const PowerSums& sums, const PqNorms& norms = {});

// `active`, where given, is as long as `values`; entries with false are left out.
PowerSums power_sums(std::span<const double> values, const PqNorms& norms = {}, std::span<const bool> active = {});
// Of a stored tensor. Values that are not finite are an Error (input) naming the tensor.
PowerSums power_sums(const Engine& engine, const Operand& operand, const PqNorms& norms = {});

}  // namespace solera::weights
