#include "solera/merge/methods/della.h"

#include <memory>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::merge {

namespace {

template <class Params>
void check(const Params&, std::span<const DellaModel> models) {
  for (const DellaModel& model : models) {
    if (model.density <= 0 || model.density >= 1) continue;
    const double least = model.density - model.epsilon, most = model.density + model.epsilon;
    if (least <= 0 || most <= 0 || least >= 1 || most >= 1)
      throw usage_error(
          cat("\"density\" ", number_text(model.density), " with \"epsilon\" ", number_text(model.epsilon),
              " asks for probabilities from ", number_text(least), " to ", number_text(most)),
          "", "density - epsilon and density + epsilon lie between 0 and 1");
  }
}

template <class Params>
MaskedMerge masked(const Params& params, std::span<const DellaModel> models, const MaskContext& context) {
  MaskedMerge merge{.lambda = params.lambda, .normalize = params.normalize};
  merge.rank_row = params.granularity == RankGroup::kTensor ? context.elements : context.row;
  const bool divide = params.rescale && params.rescale_by == RescaleBy::kProbability;
  for (std::size_t t = 0; t < models.size(); ++t) {
    const auto& [weight, density, epsilon] = models[t];
    ModelMask mask{.weight = weight, .draw = RandomMask{context.stream(t), density, epsilon, divide}};
    if (density > 0 && density < 1) {
      mask.l1 = params.rescale && !divide;
      if (divide && !mask.draw->ranked()) mask.scale = 1 / density;
    }
    merge.models.push_back(std::move(mask));
  }
  return merge;
}

MaskedMerge linear(const DellaLinearParams& params, std::span<const DellaModel> models, const MaskContext& context) {
  return masked(params, models, context);
}

MaskedMerge elected(const DellaParams& params, std::span<const DellaModel> models, const MaskContext& context) {
  MaskedMerge merge = masked(params, models, context);
  merge.election = SignVote{params.vote, params.zero_vote};
  return merge;
}

constexpr const char* kCitation = "Deep et al. 2024, arXiv 2406.11617";

}  // namespace

void della(std::span<const float> base, std::span<const std::span<const float>> tuned, const DellaParams& params,
           std::span<const DellaModel> models, const MaskContext& context, std::span<float> out) {
  check(params, models);
  merge_masked(elected(params, models, context), base, tuned, out);
}

void della_linear(std::span<const float> base, std::span<const std::span<const float>> tuned,
                  const DellaLinearParams& params, std::span<const DellaModel> models, const MaskContext& context,
                  std::span<float> out) {
  check(params, models);
  merge_masked(linear(params, models, context), base, tuned, out);
}

Method della_method() {
  return {.name = "della",
          .summary = "a random share of changes, the large more often, signs elected",
          .citation = kCitation,
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = []() -> std::unique_ptr<Program> {
            return std::make_unique<MaskedProgram<DellaParams, DellaModel>>(elected, check<DellaParams>);
          },
          .parameters = described_fields<DellaParams>,
          .model_parameters = described_fields<DellaModel>,
          .random = true};
}

Method della_linear_method() {
  return {.name = "della_linear",
          .summary = "a random share of changes, the large more often",
          .citation = kCitation,
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = []() -> std::unique_ptr<Program> {
            return std::make_unique<MaskedProgram<DellaLinearParams, DellaModel>>(linear, check<DellaLinearParams>);
          },
          .parameters = described_fields<DellaLinearParams>,
          .model_parameters = described_fields<DellaModel>,
          .random = true};
}

}  // namespace solera::merge
