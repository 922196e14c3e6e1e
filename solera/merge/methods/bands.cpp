#include "solera/merge/methods/bands.h"

#include <algorithm>

#include "solera/base/error.h"
#include "solera/base/text.h"

namespace solera::merge {

void require_one_granularity(bool first_is_model, bool is_model) {
  if (first_is_model != is_model)
    throw usage_error("\"granularity\" is model for some tensors only", "",
                      "give all tensors one, or none of them model");
}

RankBand top_band(double density, std::int64_t n) {
  if (density <= 0) return {0, 0};
  if (density >= 1) return {0, n};
  return {0, std::min(n, std::max<std::int64_t>(1, floor_count(density, n)))};
}

template <class T>
std::vector<Band<T>> select_bands(const weights::Engine& engine, std::span<const weights::Segment> segments,
                                  std::span<const RankBand> ranks) {
  std::vector<weights::RankRequest> requests;
  for (std::size_t t = 0; t < ranks.size(); ++t) {
    requests.push_back({t, ranks[t].first});
    requests.push_back({t, ranks[t].last});
  }
  const auto cuts = weights::select_cuts<T>(engine, segments, weights::Reading::kChanges, requests);
  std::vector<Band<T>> bands;
  for (std::size_t t = 0; t < ranks.size(); ++t) bands.push_back({cuts[2 * t], cuts[2 * t + 1]});
  return bands;
}

template <class T>
void keep_ranks(const RankBand& ranks, std::span<T> changes) {
  const std::span<const T> values = changes;
  weights::keep_between(weights::select_cut(values, ranks.first), weights::select_cut(values, ranks.last), 0, 0,
                        static_cast<std::int64_t>(changes.size()), changes.data());
}

std::vector<weights::Segment> survey_segments(std::span<const TensorPass> passes) {
  std::size_t models = 0;
  for (const TensorPass& pass : passes) models = std::max(models, pass.models());
  std::vector<weights::Segment> segments;
  std::vector<std::string> lacking;
  for (const TensorPass& pass : passes) {
    if (pass.models() != models) lacking.emplace_back(pass.name);
    segments.push_back({pass.operands});
  }
  if (!lacking.empty())
    throw usage_error(cat("granularity model needs every tensor in every model, and one lacks ", join(lacking, ", ")),
                      "",
                      cat("use granularity: tensor, or --exclude the ", lacking.size() == 1 ? "tensor" : "tensors"));
  return segments;
}

ModelBands survey_bands(std::span<const TensorPass> passes,
                        const std::function<RankBand(std::size_t, std::int64_t)>& ranks) {
  ModelBands result;
  const std::vector<weights::Segment> segments = survey_segments(passes);
  std::int64_t total = 0;
  const std::size_t models = passes.front().models();
  for (const TensorPass& pass : passes) {
    total += pass.elements();
    result.wide = result.wide || pass.wide();
  }
  std::vector<RankBand> wanted;
  for (std::size_t t = 0; t < models; ++t) wanted.push_back(ranks(t, total));
  const weights::Engine& engine = passes.front().engine;
  if (result.wide)
    result.wide_bands = select_bands<double>(engine, segments, wanted);
  else
    result.narrow_bands = select_bands<float>(engine, segments, wanted);
  result.found = true;
  return result;
}

#define SOLERA_INSTANTIATE(T)                                                                              \
  template std::vector<Band<T>> select_bands<T>(const weights::Engine&, std::span<const weights::Segment>, \
                                                std::span<const RankBand>);                                \
  template void keep_ranks<T>(const RankBand&, std::span<T>)
SOLERA_INSTANTIATE(float);
SOLERA_INSTANTIATE(double);
#undef SOLERA_INSTANTIATE

}  // namespace solera::merge
