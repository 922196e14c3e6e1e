// Fisher merging: the mean of models in which every element of a model counts by its Fisher information, that is by how
// much the model's predictions depend on it.
//
//   out = sum_i c_i max(F_i, floor_i) x_i / sum_i c_i max(F_i, floor_i)        element by element
//   c_i = weight_i / |F_i|_2 with normalize (the norm over all merged tensors), else weight_i
//   floor_i = floor for i = 0 alone with favor_target, for every i without
//   out = x_0 where the divisor is below 1e-38
//
// Matena and Raffel 2022, arXiv 2111.09832, with the numerics of its authors' code. F_i >= 0 is the tensor NAME.fisher
// of model i's statistics file; model 0, the first, is the target. A tensor that no file has a Fisher for is
// refused, or gets sum_i weight_i x_i / sum_i weight_i: a vector, such as a running mean of batch norm, which has no
// gradient, or any tensor with `require: none`. Shapes: any. Sums and the division are float64, whatever F's range.
// Cost: one read of models and Fishers, one more of the Fishers with normalize.
#pragma once

#include <span>

#include "solera/merge/method.h"

namespace solera::merge {

enum class FisherRequired { kMatrices, kAll, kNone };

struct FisherParams {
  bool normalize = true;
  bool favor_target = true;
  double floor = 1e-6;
  FisherRequired require = FisherRequired::kMatrices;
};
struct FisherModel {
  double weight = 1.0;
  FilePath fisher;
};

template <class Visitor>
void fields(FisherParams& p, Visitor&& field) {
  field("normalize", p.normalize, "divide each Fisher by its norm over all merged tensors").alias("normalize_fishers");
  field("favor_target", p.favor_target, "put the floor under the first model's Fisher alone")
      .alias("favor_target_model");
  field("floor", p.floor, "least Fisher of an element", "[0, inf)").alias("fisher_floor");
  field("require", p.require, "tensors without a Fisher that are refused: two and more dimensions, all, none",
        "matrices | all | none");
}
template <class Visitor>
void fields(FisherModel& m, Visitor&& field) {
  field("weight", m.weight, "share of this model (lambda)", "[0, inf)");
  field("fisher", m.fisher, "its statistics file, with a NAME.fisher for each tensor NAME").must();
}

// The formula in memory; the norms of `normalize` are those of these spans. Throws Error (usage): weights that are
// negative or all zero; Error (input): a negative or NaN Fisher, one of norm 0 that is to be normalized.
void fisher(std::span<const std::span<const float>> inputs, std::span<const std::span<const float>> fishers,
            const FisherParams& params, std::span<const FisherModel> models, std::span<float> out);

Method fisher_method();

}  // namespace solera::merge
