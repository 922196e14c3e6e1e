// Karcher mean: the point of a sphere that is nearest to several models' directions, with their mean norm.
//
//   u_i = x_i / ||x_i||                       x_i: a flat tensor; left out here where ||x_i|| <= tol
//   u   = mean_i u_i, normalized              the first u_i where that mean is shorter than tol
//   up to max_iter times:
//     T = mean_i (th_i / sin th_i) (u_i - cos th_i u)        th_i = acos <u, u_i>, skipped where below tol
//     stop if ||T|| < tol
//     u = cos||T|| u + sin||T|| T / ||T||, normalized
//   out = u mean_i ||x_i||                    over all models, those left out too; zeros where none is in
//
// Karcher 1977, Comm. Pure Appl. Math. 30(5) (Riemannian center of mass); mergekit's iteration and stopping rule. All
// models weigh the same. u and T are combinations of the inputs, so the iteration runs on their factors and products,
// in float64, and no tensor is held. The opposite of u has no direction towards it and is skipped. Shapes: any, all
// inputs alike. Cost: two reads of each input, whatever max_iter.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "solera/merge/method.h"
#include "solera/merge/methods/geometry.h"

namespace solera::merge {

struct KarcherParams {
  std::int64_t max_iter = 10;
  double tol = 1e-5;
};
template <class Visitor>
void fields(KarcherParams& p, Visitor&& field) {
  field("max_iter", p.max_iter, "most steps towards the mean", "[0, inf)");
  field("tol", p.tol, "angle, step and norm that count as none", "[0, inf)");
}

std::vector<double> karcher_factors(const Gram& vectors, const KarcherParams& params);

// The formula in memory. Requires equal sizes.
void karcher(std::span<const std::span<const float>> inputs, const KarcherParams& params, std::span<float> out);

Method karcher_method();

}  // namespace solera::merge
