// Arcee Fusion: take over from another model only the entries that changed most, weighed by how much their row's
// distribution did.
//
//   d   = b - a                                             a: the base, b: the other model
//   KL  = sum_j p_j log(p_j / q_j),  p = softmax(b) + 1e-8,  q = softmax(a) + 1e-8        one a row (last dimension)
//   s   = |d| KL                                            entry by entry
//   cut = median(s) + 1.5 (q3(s) - q1(s))                   of the tensor: the floor(q (n - 1))-th smallest
//   out = b where s >= cut, else a                          with the bits of either
//
// Arcee AI, in mergekit; without a paper. The quantiles are exact; mergekit samples a million entries of
// larger tensors. Divergences are float64. Shapes: any, both alike; a tensor of at most one dimension is one row. A
// row of one entry has KL 0, and where all scores are 0 everything is taken over. Not random. Cost: three reads of each
// input, two exponentials and a logarithm an entry; memory: one number a row and about 1 % of the scores.
#pragma once

#include <span>

#include "solera/merge/method.h"

namespace solera::merge {

// The formula in memory, over rows of `row` entries. Requires equal sizes, `row` dividing them.
void arcee_fusion(std::span<const float> base, std::span<const float> other, std::size_t row, std::span<float> out);

Method arcee_fusion_method();

}  // namespace solera::merge
