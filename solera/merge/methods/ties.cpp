#include "solera/merge/methods/ties.h"

#include <algorithm>
#include <vector>

#include "solera/merge/methods/changes.h"

namespace solera::merge {

namespace {

weights::Election election(const TiesParams& params, bool zero_is_positive) {
  return {params.vote == Vote::kWeighted, params.normalize, zero_is_positive};
}

template <class T>
std::vector<T> weights_of(std::span<const TiesModel> models) {
  std::vector<T> weights;
  for (const TiesModel& model : models) weights.push_back(static_cast<T>(model.weight));
  return weights;
}

// Positive minus negative votes: whose sign cancelled votes take.
struct Balance {
  std::int64_t votes = 0;
  void merge(const Balance& right) { votes += right.votes; }
  template <class T>
  void add(const TiesParams& params, std::span<const T> weights, std::span<T* const> rows, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
      T vote = 0;
      for (std::size_t t = 0; t < rows.size(); ++t)
        vote = vote + (params.vote == Vote::kWeighted ? weights[t] * rows[t][i] : rows[t][i]);
      votes += (vote > 0) - (vote < 0);
    }
  }
};

// Trims changes in place.
template <class T>
void trim(const weights::Tile<T>& tile, std::size_t segment, std::span<const Band<T>> bands,
          std::span<T* const> changes) {
  for (std::size_t t = 0; t < bands.size(); ++t) bands[t].keep(segment, tile.first, tile.count, changes[t]);
}

template <class T>
std::int64_t balance(const TensorPass& pass, std::size_t segment, std::span<const Band<T>> bands,
                     const TiesParams& params, std::span<const TiesModel> models) {
  const auto weights = weights_of<T>(models);
  const auto count = [&](const weights::Tile<T>& tile, Balance& state) {
    const std::span<T* const> changes = tile.inputs.subspan(1);
    trim(tile, segment, bands, changes);
    state.add<T>(params, weights, changes, tile.count);
  };
  return weights::reduce<T, Balance>(pass.engine, pass.operands, count, weights::Reading::kChanges).votes;
}

// One group whose changes are already trimmed: elect, average, add.
template <class T>
void finish(const TiesParams& params, bool zero_is_positive, std::span<const T> weights, const T* base,
            std::span<T* const> rows, std::int64_t n, T* out) {
  weights::elect<T>(election(params, zero_is_positive), weights, rows, n, out);
  add_to_base(base, params.lambda, out, n, out);
}

template <class T>
void map_trimmed(const TensorPass& pass, std::size_t segment, std::span<const Band<T>> bands, bool zero_is_positive,
                 const TiesParams& params, std::span<const TiesModel> models) {
  const auto weights = weights_of<T>(models);
  map_changes<T>(pass, [&](const weights::Tile<T>& tile, std::span<T* const> changes, T* out) {
    trim(tile, segment, bands, changes);
    finish<T>(params, zero_is_positive, weights, tile[0], changes, tile.count, out);
  });
}

template <class T>
void by_tensor(const TensorPass& pass, const TiesParams& params, std::span<const TiesModel> models) {
  std::vector<RankBand> ranks;
  for (const TiesModel& model : models) ranks.push_back(top_band(model.density, pass.elements()));
  const weights::Segment segment{pass.operands};
  const auto bands = select_bands<T>(pass.engine, std::span(&segment, 1), ranks);
  const bool positive = params.zero_vote == ZeroVote::kPositive || balance<T>(pass, 0, bands, params, models) >= 0;
  map_trimmed<T>(pass, 0, bands, positive, params, models);
}

// The changes are overwritten.
template <class T>
void one_group(const TiesParams& params, std::span<const TiesModel> models, const T* base, std::span<T* const> changes,
               std::int64_t n, T* out) {
  const auto weights = weights_of<T>(models);
  for (std::size_t t = 0; t < models.size(); ++t)
    keep_ranks(top_band(models[t].density, n), std::span<T>(changes[t], static_cast<std::size_t>(n)));
  Balance votes;
  if (params.zero_vote == ZeroVote::kMajority) votes.add<T>(params, weights, changes, n);
  finish<T>(params, votes.votes >= 0, weights, base, changes, n, out);
}

template <class T>
void by_row(const TensorPass& pass, const TiesParams& params, std::span<const TiesModel> models) {
  merge_rows<T>(pass, [&](const T* base, std::span<T* const> changes, std::int64_t n, T* out) {
    one_group<T>(params, models, base, changes, n, out);
  });
}

class TiesProgram final : public TypedProgram<TiesParams, TiesModel> {
 public:
  TiesProgram() : TypedProgram(nullptr, nullptr) {}

  bool wants_survey() const override { return count() > 0 && params(0).granularity == Granularity::kModel; }

  void survey(std::span<const TensorPass> passes) override {
    bands_ = survey_bands(passes, [&](std::size_t t, std::int64_t n) { return top_band(models(0)[t].density, n); });
    if (params(0).zero_vote == ZeroVote::kPositive) return;
    std::int64_t votes = 0;
    for (std::size_t i = 0; i < passes.size(); ++i)
      votes += bands_.wide ? balance<double>(passes[i], i, bands_.wide_bands, params(i), models(i))
                           : balance<float>(passes[i], i, bands_.narrow_bands, params(i), models(i));
    positive_ = votes >= 0;
  }

  bool survey_state(SurveyState& state) override {
    state(bands_, positive_);
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
        return map_trimmed<T>(pass, index, bands_.bands<T>(), positive_, params(index), models(index));
    }
  }

  ModelBands bands_;
  bool positive_ = true;
};

}  // namespace

void ties(std::span<const float> base, std::span<const std::span<const float>> tuned, const TiesParams& params,
          std::span<const TiesModel> models, std::span<float> out) {
  const Changes changes(base, tuned);
  std::vector<float> result(out.size());
  one_group<float>(params, models, base.data(), changes.pointers, static_cast<std::int64_t>(out.size()), result.data());
  std::copy(result.begin(), result.end(), out.begin());
}

Method ties_method() {
  return {.name = "ties",
          .summary = "trim small changes, elect signs, average what agrees",
          .citation = "Yadav et al. 2023, arXiv 2306.01708",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = []() -> std::unique_ptr<Program> { return std::make_unique<TiesProgram>(); },
          .parameters = described_fields<TiesParams>,
          .model_parameters = described_fields<TiesModel>};
}

}  // namespace solera::merge
