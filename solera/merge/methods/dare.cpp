#include "solera/merge/methods/dare.h"

#include <memory>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::merge {

namespace {

template <class Params>
void check(const Params& params, std::span<const DareModel> models) {
  for (const DareModel& model : models)
    if (model.q != 0 && !params.rescale)
      throw usage_error(cat("\"q\" is ", number_text(model.q), " and \"rescale\" is false"), "",
                        "leave one of them out: q is what the changes are rescaled by");
}

template <class Params>
ModelMask mask(const Params& params, const DareModel& model, std::size_t place, const MaskContext& context) {
  ModelMask result{.weight = model.weight,
                   .draw = RandomMask{.stream = context.stream(place), .density = model.density}};
  if (model.density <= 0 || model.density >= 1) {
    result.scale = model.q > 0 ? 1 / model.q : 1;
  } else if (model.q > 0) {
    result.scale = 1 / model.q;
    if (model.q < model.density && context.warnings)
      context.warnings->push_back(cat("q ", number_text(model.q), " is less than the density ",
                                      number_text(model.density), ": changes grow beyond 1/density"));
  } else if (params.rescale) {
    result.l1 = params.rescale_by == RescaleBy::kL1;
    result.scale = result.l1 ? 1 : 1 / model.density;
  }
  return result;
}

template <class Params>
MaskedMerge masked(const Params& params, std::span<const DareModel> models, const MaskContext& context) {
  MaskedMerge merge{.lambda = params.lambda, .normalize = params.normalize};
  for (std::size_t t = 0; t < models.size(); ++t) merge.models.push_back(mask(params, models[t], t, context));
  return merge;
}

MaskedMerge linear(const DareLinearParams& params, std::span<const DareModel> models, const MaskContext& context) {
  return masked(params, models, context);
}

MaskedMerge elected(const DareTiesParams& params, std::span<const DareModel> models, const MaskContext& context) {
  MaskedMerge merge = masked(params, models, context);
  merge.election = SignVote{params.vote, params.zero_vote};
  return merge;
}

constexpr const char* kCitation = "Yu et al. 2024, arXiv 2311.03099";

}  // namespace

void dare_linear(std::span<const float> base, std::span<const std::span<const float>> tuned,
                 const DareLinearParams& params, std::span<const DareModel> models, const MaskContext& context,
                 std::span<float> out) {
  check(params, models);
  merge_masked(linear(params, models, context), base, tuned, out);
}

void dare_ties(std::span<const float> base, std::span<const std::span<const float>> tuned, const DareTiesParams& params,
               std::span<const DareModel> models, const MaskContext& context, std::span<float> out) {
  check(params, models);
  merge_masked(elected(params, models, context), base, tuned, out);
}

Method dare_linear_method() {
  return {.name = "dare_linear",
          .summary = "a random share of every fine-tune's changes, enlarged",
          .citation = kCitation,
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = []() -> std::unique_ptr<Program> {
            return std::make_unique<MaskedProgram<DareLinearParams, DareModel>>(linear, check<DareLinearParams>);
          },
          .parameters = described_fields<DareLinearParams>,
          .model_parameters = described_fields<DareModel>,
          .random = true};
}

Method dare_ties_method() {
  return {.name = "dare_ties",
          .summary = "a random share of every fine-tune's changes, signs elected",
          .citation = kCitation,
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = []() -> std::unique_ptr<Program> {
            return std::make_unique<MaskedProgram<DareTiesParams, DareModel>>(elected, check<DareTiesParams>);
          },
          .parameters = described_fields<DareTiesParams>,
          .model_parameters = described_fields<DareModel>,
          .random = true};
}

}  // namespace solera::merge
