// RAM+ (tensor-local): RAM, with changes that one model alone made a little enlarged for what sharing takes from it.
//
//   shared_i, alone_i = how many active entries of model i others share, and how many they do not       in the tensor
//   lambda_i = 1 + r clip(shared_i / max(alone_i, epsilon), 0, alpha)
//   out = base + lambda_i d_i      where model i alone is active; else as in RAM
//
// Yuan et al. 2026, "Reinforced Agent Merging", arXiv 2601.13572, with counts tensor by tensor as in mergekit. Shapes:
// any, all inputs alike. Cost: two reads of each input.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "solera/merge/method.h"
#include "solera/merge/methods/ram.h"

namespace solera::merge {

struct RamplusTlParams {
  double epsilon = 1e-5;
  double r = 0.1;
  double alpha = 0.2;
};
template <class Visitor>
void fields(RamplusTlParams& p, Visitor&& field) {
  field("epsilon", p.epsilon, kEpsilonMeaning, "[0, inf)");
  field("r", p.r, "gain on changes that one model alone made", "finite");
  field("alpha", p.alpha, "largest ratio of shared to lone changes that counts", "[0, inf)");
}

// lambda of a model.
double ramplus_tl_factor(std::int64_t shared, std::int64_t alone, const RamplusTlParams& params);

// The formula for one tensor in memory. Requires equal sizes.
void ramplus_tl(std::span<const float> base, std::span<const std::span<const float>> tuned,
                const RamplusTlParams& params, std::span<float> out);

Method ramplus_tl_method();

}  // namespace solera::merge
