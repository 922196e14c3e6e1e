// NuSLERP: SLERP with weights for the two models, of whole tensors, rows or columns, or of their changes from a base.
//
//   t   = w_2 / (w_1 + w_2)                                  1/2 where |w_1 + w_2| < 1e-6
//   th  = acos( <a, b> / (max(||a||, 1e-7) max(||b||, 1e-7)) )
//   out = sin((1 - t) th) / sin th * a + sin(t th) / sin th * b          a, b: less the base, which is added again
//   out = (1 - t) a + t b                                    where 1 - cos^2 th <= 1e-12
//
// Shoemake 1985; mergekit's variant (its bound of 1e-16 is below what rounding leaves of opposite vectors). A vector is
// a flat tensor (nuslerp_flatten), else a row of [out, in] along the last axis, or, with nuslerp_row_wise, a column
// along axis 0: the name is mergekit's, and says the opposite. Shapes: any, both alike; a tensor of at most one
// dimension is one vector. Norms and products are summed in float64. Cost: two reads of each input, one for rows;
// memory for columns: 40 to 400 bytes a column.
#pragma once

#include <span>
#include <utility>

#include "solera/merge/method.h"

namespace solera::merge {

struct NuslerpParams {
  bool flatten = true;
  bool row_wise = false;
};
struct NuslerpModel {
  double weight = 1.0;
};

template <class Visitor>
void fields(NuslerpParams& p, Visitor&& field) {
  field("nuslerp_flatten", p.flatten, "one angle a tensor; else one a vector").alias("flatten");
  field("nuslerp_row_wise", p.row_wise, "vectors along axis 0 (columns), else along the last (rows)").alias("row_wise");
}
template <class Visitor>
void fields(NuslerpModel& m, Visitor&& field) {
  field("weight", m.weight, "share of this model", "finite").mergekit_required();
}

// t of two models.
double nuslerp_position(std::span<const NuslerpModel> models);
// The two factors of a and b from ||a||^2, ||b||^2 and <a, b>.
std::pair<double, double> nuslerp_factors(double aa, double bb, double ab, double t);

// The formula for one vector in memory. `base` may be empty. Requires equal sizes and two inputs.
void nuslerp(std::span<const float> base, std::span<const std::span<const float>> inputs,
             std::span<const NuslerpModel> models, std::span<float> out);

Method nuslerp_method();

}  // namespace solera::merge
