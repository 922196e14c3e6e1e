#include "solera/merge/methods/breadcrumbs.h"

#include <algorithm>
#include <memory>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::merge {

namespace {

MaskedMerge masked(const BreadcrumbsParams& params, std::span<const BreadcrumbsModel> models, const MaskContext&) {
  return masked_breadcrumbs(params, models);
}

}  // namespace

void check_breadcrumbs(const BreadcrumbsParams& params, std::span<const BreadcrumbsModel> models) {
  if (params.overlap == Overlap::kShrink || !params.remove_first) return;
  for (const BreadcrumbsModel& model : models)
    if (model.keep + model.remove > 1.0 + 1e-12)
      throw usage_error(cat("keep + remove is ", number_text(model.keep + model.remove), ", more than 1"), "",
                        "lower keep or remove");
}

MaskedMerge masked_breadcrumbs(const BreadcrumbsParams& params, std::span<const BreadcrumbsModel> models) {
  MaskedMerge merge{.granularity = params.granularity, .lambda = params.alpha, .normalize = params.normalize};
  for (const BreadcrumbsModel& model : models)
    merge.models.push_back({.weight = model.weight,
                            .band = [&params, &model](std::int64_t n) { return breadcrumbs_band(params, model, n); },
                            .l1 = params.rescale});
  return merge;
}

RankBand breadcrumbs_band(const BreadcrumbsParams& params, const BreadcrumbsModel& model, std::int64_t n) {
  const bool shrink = params.overlap == Overlap::kShrink;
  if (model.keep >= 1 && (shrink || model.remove <= 0)) return {0, n};
  const std::int64_t keep = std::clamp<std::int64_t>(model.keep <= 0 ? 0 : floor_count(model.keep, n), 0, n);
  const std::int64_t remove = std::clamp<std::int64_t>(model.remove <= 0 ? 0 : floor_count(model.remove, n), 0, n);
  if (keep == 0)
    return params.small_tensor == SmallTensor::kKeepAll && model.keep > 0 ? RankBand{0, n} : RankBand{0, 0};
  if (!params.remove_first) return {std::min(remove, keep), keep};
  const std::int64_t first = std::min(remove, n - keep);  // mergekit's shrinking; never binds where keep + remove <= 1
  return {first, first + keep};
}

void breadcrumbs(std::span<const float> base, std::span<const std::span<const float>> tuned,
                 const BreadcrumbsParams& params, std::span<const BreadcrumbsModel> models, std::span<float> out) {
  check_breadcrumbs(params, models);
  merge_masked(masked_breadcrumbs(params, models), base, tuned, out);
}

Method breadcrumbs_method() {
  return {.name = "breadcrumbs",
          .summary = "the middle band of every fine-tune's changes",
          .citation = "Davari and Belilovsky 2024, arXiv 2312.06795",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = []() -> std::unique_ptr<Program> {
            return std::make_unique<MaskedProgram<BreadcrumbsParams, BreadcrumbsModel>>(masked, check_breadcrumbs);
          },
          .parameters = described_fields<BreadcrumbsParams>,
          .model_parameters = described_fields<BreadcrumbsModel>};
}

}  // namespace solera::merge
