#include "solera/merge/methods/ties.h"

#include <memory>

namespace solera::merge {

namespace {

MaskedMerge masked(const TiesParams& params, std::span<const TiesModel> models, const MaskContext&) {
  MaskedMerge merge{.granularity = params.granularity,
                    .election = SignVote{params.vote, params.zero_vote},
                    .lambda = params.lambda,
                    .normalize = params.normalize};
  for (const TiesModel& model : models)
    merge.models.push_back({.weight = model.weight,
                            .band = [&model](std::int64_t n) { return top_band(model.density, n); },
                            .l1 = params.rescale});
  return merge;
}

}  // namespace

void ties(std::span<const float> base, std::span<const std::span<const float>> tuned, const TiesParams& params,
          std::span<const TiesModel> models, std::span<float> out) {
  merge_masked(masked(params, models, {}), base, tuned, out);
}

Method ties_method() {
  return {.name = "ties",
          .summary = "trim small changes, elect signs, average what agrees",
          .citation = "Yadav et al. 2023, arXiv 2306.01708",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = []() -> std::unique_ptr<Program> {
            return std::make_unique<MaskedProgram<TiesParams, TiesModel>>(masked);
          },
          .parameters = described_fields<TiesParams>,
          .model_parameters = described_fields<TiesModel>};
}

}  // namespace solera::merge
