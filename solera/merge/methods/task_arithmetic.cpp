#include "solera/merge/methods/task_arithmetic.h"

#include <algorithm>
#include <vector>

#include "solera/merge/methods/changes.h"

namespace solera::merge {

namespace {

double factor(const TaskParams& params, std::span<const TaskModel> models) {
  return params.normalize ? params.lambda / weight_sum(models) : params.lambda;
}

// `sum` is scratch and may be `out`, unless out is base.
template <class T>
void add_changes(const T* base, std::span<T* const> changes, const TaskParams& params,
                 std::span<const TaskModel> models, std::int64_t n, T* sum, T* out) {
  std::fill_n(sum, n, T(0));
  for (std::size_t t = 0; t < models.size(); ++t)
    weights::add_scaled(static_cast<T>(models[t].weight), changes[t], n, sum);
  add_to_base(base, factor(params, models), sum, n, out);
}

template <class T>
void run(const TensorPass& pass, const TaskParams& params, std::span<const TaskModel> models) {
  map_changes<T>(pass, [&](const weights::Tile<T>& tile, std::span<T* const> changes, T* out) {
    add_changes<T>(tile[0], changes, params, models, tile.count, out, out);
  });
}

void merge(const TensorPass& pass, const TaskParams& params, std::span<const TaskModel> models) {
  pass.wide() ? run<double>(pass, params, models) : run<float>(pass, params, models);
}

}  // namespace

void task_arithmetic(std::span<const float> base, std::span<const std::span<const float>> tuned,
                     const TaskParams& params, std::span<const TaskModel> models, std::span<float> out) {
  const Changes changes(base, tuned);
  std::vector<float> sum(out.size());
  add_changes<float>(base.data(), changes.pointers, params, models, static_cast<std::int64_t>(out.size()), sum.data(),
                     out.data());
}

Method task_arithmetic_method() {
  return {.name = "task_arithmetic",
          .summary = "the base plus every fine-tune's changes",
          .citation = "Ilharco et al. 2022, arXiv 2212.04089",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = [] { return typed_program<TaskParams, TaskModel>(merge); },
          .parameters = described_fields<TaskParams>,
          .model_parameters = described_fields<TaskModel>};
}

}  // namespace solera::merge
