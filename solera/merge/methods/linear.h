// Linear: the weighted mean of models, the uniform soup when all weights are equal.
//
//   out = sum_i w_i x_i / sum_i w_i          float64 sums, rounded once to the output type
//   out = sum_i w_i x_i                      with normalize: false
//
// Izmailov et al. 2018, arXiv 1803.05407 (averages of one run); Wortsman et al. 2022, arXiv 2203.05482 (of many).
// Shapes: any, all inputs alike. Equal inputs come back bit for bit where the weights are normalized.
// Cost: one read of each input.
#pragma once

#include <cstdint>
#include <span>

#include "solera/merge/method.h"

namespace solera::merge {

struct LinearParams {
  bool normalize = true;
};
struct LinearModel {
  double weight = 1.0;
};

template <class Visitor>
void fields(LinearParams& p, Visitor&& field) {
  field("normalize", p.normalize, "divide by the sum of the weights");
}
template <class Visitor>
void fields(LinearModel& m, Visitor&& field) {
  field("weight", m.weight, "share of this model", "finite").mergekit_required();
}

// The formula in memory. Throws Error (usage) if the weights sum to zero where they are normalized.
void linear(std::span<const std::span<const float>> inputs, const LinearParams& params,
            std::span<const LinearModel> models, std::span<float> out);

Method linear_method();

}  // namespace solera::merge
