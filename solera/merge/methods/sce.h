// SCE (select, calculate, erase): weigh models by the size of their changes where these differ most, and drop what
// goes against the majority.
//
//   d_i = x_i - base
//   select:    d_i = 0 except at the k entries with the largest variance of d_i over the models,
//              k = floor(select_topk * entries with a variance above 0)                      select_topk < 1 only
//   calculate: w_i = mean(d_i^2) / sum_j mean(d_j^2)                   over the tensor; all equal if the sum is < 1e-6
//   erase:     s = + where sum_i d_i >= 0, else -;   only d_i of this sign count
//   out = base + sum_i w_i d_i / max(sum_i w_i, 1e-6)                  over the i that count
//
// Wan et al. 2024, FuseChat, arXiv 2408.07990, tensor by tensor as in mergekit. Variances are of the
// population, in float64; equal ones at the cut go by index, the lower first. Shapes: any, all inputs alike. Cost: two
// reads of each input, with select_topk < 1 five; memory: about 1 % of the variances.
#pragma once

#include <span>

#include "solera/merge/method.h"

namespace solera::merge {

struct SceParams {
  double select_topk = 1.0;
};
template <class Visitor>
void fields(SceParams& p, Visitor&& field) {
  field("select_topk", p.select_topk, "share of the entries where models differ that is kept", "(0, 1]");
}

// The formula for one tensor in memory. Requires equal sizes.
void sce(std::span<const float> base, std::span<const std::span<const float>> tuned, const SceParams& params,
         std::span<float> out);

Method sce_method();

}  // namespace solera::merge
