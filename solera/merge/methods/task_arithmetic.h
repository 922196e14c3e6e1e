// Task arithmetic: add what each fine-tune changed to the base.
//
//   tau_t = x_t - base                                 float32
//   out   = base + lambda sum_t w_t tau_t              rounded once, to the output type
//   out   = base + lambda sum_t w_t tau_t / sum_t w_t  with normalize: true (a sum below 1e-8 counts as 1)
//
// Ilharco et al. 2022, arXiv 2212.04089 (equation 1; one lambda for all tasks).
// Shapes: any, all inputs alike. lambda = 0 gives the base's bits. Cost: one read of each input.
#pragma once

#include <span>

#include "solera/merge/method.h"

namespace solera::merge {

struct TaskParams {
  double lambda = 1.0;
  bool normalize = false;
};
struct TaskModel {
  double weight = 1.0;
};

template <class Visitor>
void fields(TaskParams& p, Visitor&& field) {
  field("lambda", p.lambda, "factor on the summed changes", "finite").alias("alpha");
  field("normalize", p.normalize, "divide the sum by the sum of the weights");
}
template <class Visitor>
void fields(TaskModel& m, Visitor&& field) {
  field("weight", m.weight, "factor on this model's changes", "finite").mergekit_required();
}

// The formula in memory. `out` may be `base` itself. Requires equal sizes.
void task_arithmetic(std::span<const float> base, std::span<const std::span<const float>> tuned,
                     const TaskParams& params, std::span<const TaskModel> models, std::span<float> out);

Method task_arithmetic_method();

}  // namespace solera::merge
