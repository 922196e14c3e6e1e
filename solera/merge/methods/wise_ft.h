// WiSE-FT: between a pre-trained model and its fine-tune, for accuracy on the task and robustness off it.
//
//   out = (1 - alpha) base + alpha x              float64 sum, rounded once; alpha 0 and 1 give the inputs' bits
//
// Wortsman et al., CVPR 2022, arXiv 2109.01903 (weight-space ensembles). Shapes: any, both alike. Cost: one
// read of each input.
#pragma once

#include <span>

#include "solera/merge/method.h"

namespace solera::merge {

struct WiseFtParams {
  double alpha = 0.5;
};
template <class Visitor>
void fields(WiseFtParams& p, Visitor&& field) {
  field("alpha", p.alpha, "share of the fine-tune: 0 is the base", "[0, 1]");
}

// The formula in memory. Requires equal sizes.
void wise_ft(std::span<const float> base, std::span<const float> tuned, const WiseFtParams& params,
             std::span<float> out);

Method wise_ft_method();

}  // namespace solera::merge
