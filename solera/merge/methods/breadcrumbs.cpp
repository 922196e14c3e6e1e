#include "solera/merge/methods/breadcrumbs.h"

#include <algorithm>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/merge/methods/changes.h"

namespace solera::merge {

namespace {

void check(const BreadcrumbsParams& params, std::span<const BreadcrumbsModel> models) {
  if (params.overlap == Overlap::kShrink || !params.remove_first) return;
  for (const BreadcrumbsModel& model : models)
    if (model.keep + model.remove > 1.0 + 1e-12)
      throw usage_error(cat("keep + remove is ", number_text(model.keep + model.remove), ", more than 1"), "",
                        "lower keep or remove");
}

double factor(const BreadcrumbsParams& params, std::span<const BreadcrumbsModel> models) {
  return params.normalize ? params.alpha / weight_sum(models) : params.alpha;
}

// out = base + factor times the sum of what `add(t, weight, sum)` adds for each model t.
template <class T, class Add>
void add_masked(const BreadcrumbsParams& params, std::span<const BreadcrumbsModel> models, const T* base,
                std::int64_t n, Add add, T* out) {
  std::fill_n(out, n, T(0));
  for (std::size_t t = 0; t < models.size(); ++t) add(t, static_cast<T>(models[t].weight), out);
  add_to_base(base, factor(params, models), out, n, out);
}

template <class T>
void map_bands(const TensorPass& pass, std::size_t segment, std::span<const Band<T>> bands,
               const BreadcrumbsParams& params, std::span<const BreadcrumbsModel> models) {
  map_changes<T>(pass, [&](const weights::Tile<T>& tile, std::span<T* const> changes, T* out) {
    const auto add = [&](std::size_t t, T weight, T* sum) {
      bands[t].add(segment, tile.first, tile.count, weight, changes[t], sum);
    };
    add_masked<T>(params, models, tile[0], tile.count, add, out);
  });
}

template <class T>
void by_tensor(const TensorPass& pass, const BreadcrumbsParams& params, std::span<const BreadcrumbsModel> models) {
  std::vector<RankBand> ranks;
  for (const BreadcrumbsModel& model : models) ranks.push_back(breadcrumbs_band(params, model, pass.elements()));
  const weights::Segment segment{pass.operands};
  const auto bands = select_bands<T>(pass.engine, std::span(&segment, 1), ranks);
  map_bands<T>(pass, 0, bands, params, models);
}

// The changes are overwritten.
template <class T>
void one_group(const BreadcrumbsParams& params, std::span<const BreadcrumbsModel> models, const T* base,
               std::span<T* const> changes, std::int64_t n, T* out) {
  const auto add = [&](std::size_t t, T weight, T* sum) {
    keep_ranks(breadcrumbs_band(params, models[t], n), std::span<T>(changes[t], static_cast<std::size_t>(n)));
    weights::add_scaled(weight, changes[t], n, sum);
  };
  add_masked<T>(params, models, base, n, add, out);
}

template <class T>
void by_row(const TensorPass& pass, const BreadcrumbsParams& params, std::span<const BreadcrumbsModel> models) {
  merge_rows<T>(pass, [&](const T* base, std::span<T* const> changes, std::int64_t n, T* out) {
    one_group<T>(params, models, base, changes, n, out);
  });
}

class BreadcrumbsProgram final : public TypedProgram<BreadcrumbsParams, BreadcrumbsModel> {
 public:
  BreadcrumbsProgram() : TypedProgram(nullptr, check) {}

  bool wants_survey() const override { return count() > 0 && params(0).granularity == Granularity::kModel; }

  void survey(std::span<const TensorPass> passes) override {
    bands_ = survey_bands(passes,
                          [&](std::size_t t, std::int64_t n) { return breadcrumbs_band(params(0), models(0)[t], n); });
  }

  bool survey_state(SurveyState& state) override {
    state(bands_);
    return true;
  }

  void merge(std::size_t index, const TensorPass& pass) override {
    bands_.wide || pass.wide() ? run<double>(index, pass) : run<float>(index, pass);
  }

 private:
  template <class T>
  void run(std::size_t index, const TensorPass& pass) {
    switch (params(index).granularity) {
      case Granularity::kTensor:
        return by_tensor<T>(pass, params(index), models(index));
      case Granularity::kRow:
        return by_row<T>(pass, params(index), models(index));
      case Granularity::kModel:
        return map_bands<T>(pass, index, bands_.bands<T>(), params(index), models(index));
    }
  }

  ModelBands bands_;
};

}  // namespace

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
  check(params, models);
  const Changes changes(base, tuned);
  std::vector<float> result(out.size());
  one_group<float>(params, models, base.data(), changes.pointers, static_cast<std::int64_t>(out.size()), result.data());
  std::copy(result.begin(), result.end(), out.begin());
}

Method breadcrumbs_method() {
  return {.name = "breadcrumbs",
          .summary = "the middle band of every fine-tune's changes",
          .citation = "Davari and Belilovsky 2024, arXiv 2312.06795",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = []() -> std::unique_ptr<Program> { return std::make_unique<BreadcrumbsProgram>(); },
          .parameters = described_fields<BreadcrumbsParams>,
          .model_parameters = described_fields<BreadcrumbsModel>};
}

}  // namespace solera::merge
