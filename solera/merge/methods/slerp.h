// SLERP: from one model to another along the arc between them instead of the chord.
//
//   u = a / ||a||,  v = b / ||b||,  d = <u, v>,  th = acos d          a: the base, b: the other model, each a flat
//   vector out = sin((1 - t) th) / sin th * a  +  sin(t th) / sin th * b     t = 0 is the base out = (1 - t) a + t b
//   where |d| > 0.9995, antiparallel included
//
// Shoemake 1985, "Animating rotation with quaternion curves", applied to the original (unnormalized) tensors as
// mergekit does. A vector of norm <= 1e-8 is not normalized. Shapes: any, both alike. Norms and products are summed in
// float64. Cost: two reads of each input.
#pragma once

#include <span>
#include <utility>

#include "solera/merge/method.h"

namespace solera::merge {

struct SlerpParams {
  double t = 0.5;
};
template <class Visitor>
void fields(SlerpParams& p, Visitor&& field) {
  field("t", p.t, "position on the arc: 0 is the base, 1 the other model", "finite").must();
}

// The two factors of a and b from ||a||^2, ||b||^2 and <a, b>.
std::pair<double, double> slerp_factors(double aa, double bb, double ab, double t);

// The formula in memory. Requires equal sizes.
void slerp(std::span<const float> a, std::span<const float> b, const SlerpParams& params, std::span<float> out);

Method slerp_method();

}  // namespace solera::merge
