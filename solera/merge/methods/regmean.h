// RegMean: the weights whose outputs are nearest, in the sum of squares over each model's own inputs, to what each
// model's own weights give.
//
//   W = (sum_i w_i W_i (G_i' + r I)) (sum_i w_i (G_i' + r I))^-1       W_i [out, in], G_i = mean of x x^T [in, in]
//   G_i' = G_i with its off-diagonal entries times alpha
//   r = ridge sum_i w_i mean(diag G_i) / sum_i w_i       directions that no input has get the mean of the weights
//
// Jin et al. 2023, arXiv 2212.09849, equation 2 and section 3.3, transposed: a stored weight is [out, in]. G_i is the
// tensor NAME.gram of model i's statistics file. A convolution's weight [out, in, k, k] is a matrix [out, in k k].
// Tensors that no file has a Gram matrix for (biases, norms, embeddings) get sum_i w_i x_i / sum_i w_i.
// Arithmetic is float64, rounded once; Cholesky. Cost: out in^2 operations a model and twice for the solution, in^3 /
// 3; one tensor at a time in memory, 8 (in^2 + 2 out in) bytes.
#pragma once

#include <cstdint>
#include <span>

#include "solera/merge/method.h"

namespace solera::merge {

struct RegMeanParams {
  double alpha = 0.9;
  double ridge = 1e-6;
};
struct RegMeanModel {
  double weight = 1.0;
  FilePath statistics;
};

template <class Visitor>
void fields(RegMeanParams& p, Visitor&& field) {
  field("alpha", p.alpha, "factor on the off-diagonal entries of the Gram matrices", "[0, 1]");
  field("ridge", p.ridge, "pull towards the mean of the weights, relative to the mean diagonal entry", "[0, inf)");
}
template <class Visitor>
void fields(RegMeanModel& m, Visitor&& field) {
  field("weight", m.weight, "share of this model", "[0, inf)");
  field("statistics", m.statistics, "its statistics file, with a NAME.gram for each layer's weight NAME").must();
}

// The formula in memory: inputs [out, in], Gram matrices [in, in]. Throws Error (usage): shares or parameters out of
// range; Error (input): Gram matrices whose sum is not symmetric and positive definite.
void regmean(std::span<const std::span<const float>> inputs, std::span<const std::span<const float>> grams,
             std::int64_t in, const RegMeanParams& params, std::span<const RegMeanModel> models, std::span<float> out);

Method regmean_method();

}  // namespace solera::merge
