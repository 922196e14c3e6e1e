// Model Stock: from the base towards the mean of a few fine-tunes, as far as their angle says.
//
//   d_i = x_i - base,   i = 1 ... N                     N >= 2
//   c   = mean over pairs of <d_i, d_j> / max(||d_i|| ||d_j||, 1e-6), each within [-1, 1]
//   t   = N c / (1 + (N - 1) c)
//   out = base + t mean_i d_i                           t = 1: parallel changes; t = 0: orthogonal ones, the base
//
// Jang, Yun and Han, ECCV 2024, arXiv 2403.19522 (layer by layer; tensor by tensor in mergekit and here).
// Where the changes point away from each other (c < 0) t is negative or beyond 1, and out leaves the segment; where
// |1 + (N - 1) c| < 1e-6 there is no minimum and out is the base. Shapes: any, all inputs alike. Norms and products are
// summed in float64. Cost: two reads of each input (one with filter_wise), N (N + 1) / 2 products an element.
#pragma once

#include <span>
#include <vector>

#include "solera/merge/method.h"
#include "solera/merge/methods/geometry.h"

namespace solera::merge {

struct ModelStockParams {
  bool filter_wise = false;
};
template <class Visitor>
void fields(ModelStockParams& p, Visitor&& field) {
  field("filter_wise", p.filter_wise, "one angle a row (the last dimension) instead of a tensor");
}

// t from the products of the changes.
double model_stock_ratio(const Gram& changes);

// The formula for one group in memory. Requires at least two inputs, equal sizes; filter_wise is the caller's.
void model_stock(std::span<const float> base, std::span<const std::span<const float>> tuned, std::span<float> out);

Method model_stock_method();

}  // namespace solera::merge
