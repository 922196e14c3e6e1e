#include "solera/merge/methods/breadcrumbs_ties.h"

#include <memory>

namespace solera::merge {

namespace {

void check(const BreadcrumbsTiesParams& params, std::span<const BreadcrumbsModel> models) {
  check_breadcrumbs(params.breadcrumbs, models);
}

MaskedMerge masked(const BreadcrumbsTiesParams& params, std::span<const BreadcrumbsModel> models, const MaskContext&) {
  MaskedMerge merge = masked_breadcrumbs(params.breadcrumbs, models);
  merge.election = SignVote{params.vote, params.zero_vote};
  return merge;
}

}  // namespace

void breadcrumbs_ties(std::span<const float> base, std::span<const std::span<const float>> tuned,
                      const BreadcrumbsTiesParams& params, std::span<const BreadcrumbsModel> models,
                      std::span<float> out) {
  check(params, models);
  merge_masked(masked(params, models, {}), base, tuned, out);
}

Method breadcrumbs_ties_method() {
  return {.name = "breadcrumbs_ties",
          .summary = "the middle band of every fine-tune's changes, signs elected",
          .citation = "in mergekit; Davari and Belilovsky 2024, Yadav et al. 2023",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = []() -> std::unique_ptr<Program> {
            return std::make_unique<MaskedProgram<BreadcrumbsTiesParams, BreadcrumbsModel>>(masked, check);
          },
          .parameters = described_fields<BreadcrumbsTiesParams>,
          .model_parameters = described_fields<BreadcrumbsModel>};
}

}  // namespace solera::merge
