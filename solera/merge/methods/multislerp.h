// Multi-SLERP: the weighted mean direction of several models, with their weighted mean norm.
//
//   u_i = x_i / (||x_i|| + eps),   m = sum_i w_i u_i             x_i: a flat tensor, less the base's if there is one
//   out = (sum_i w_i ||x_i||) cos(eps) m / ||m||   (+ base)      weights divided by their sum if normalize_weights
//
// Goddard, goddard.blog/posts/multislerp-wow-what-a-cool-idea: the step there from m / ||m|| in its tangent space,
// sum_i w_i (u_i - <u_i, m> m / ||m||^2), is zero by the choice of m, which leaves this. Shapes: any, all inputs alike.
// Where ||m|| < eps, directions cancel: with two models out is their weighted sum (+ base), with more it is an error,
// unless all vectors are zero. One model's weight does not count. Norms and products are summed in float64. Cost: two
// reads of each input.
#pragma once

#include <span>
#include <vector>

#include "solera/merge/method.h"
#include "solera/merge/methods/geometry.h"

namespace solera::merge {

struct MultislerpParams {
  bool normalize_weights = true;
  double eps = 1e-8;
};
struct MultislerpModel {
  double weight = 1.0;
};

template <class Visitor>
void fields(MultislerpParams& p, Visitor&& field) {
  field("normalize_weights", p.normalize_weights, "divide the weights by their sum");
  field("eps", p.eps, "added to norms; a mean direction below it counts as cancelled", "[0, inf)");
}
template <class Visitor>
void fields(MultislerpModel& m, Visitor&& field) {
  field("weight", m.weight, "share of this model", "finite").mergekit_required();
}

// The factors of the vectors. Throws Error (input) where more than two cancel; `tensor` names them.
std::vector<double> multislerp_factors(const Gram& vectors, const MultislerpParams& params,
                                       std::span<const MultislerpModel> models, std::string_view tensor);

// The formula in memory. `base` may be empty. Requires equal sizes.
void multislerp(std::span<const float> base, std::span<const std::span<const float>> inputs,
                const MultislerpParams& params, std::span<const MultislerpModel> models, std::span<float> out);

Method multislerp_method();

}  // namespace solera::merge
