#include "solera/merge/methods/consensus.h"

#include <algorithm>
#include <vector>

#include "solera/base/error.h"
#include "solera/base/text.h"
#include "solera/merge/methods/changes.h"
#include "solera/weights/mixing.h"

namespace solera::merge {
namespace {

void check(const ConsensusParams& params, std::span<const ConsensusModel> models) {
  if (params.agree < 0) throw usage_error(cat("\"agree\" is ", params.agree, ", less than 0"));
  for (const ConsensusModel& model : models)
    if (!in_range(model.strictness, "[0, inf)"))
      throw usage_error(cat("\"strictness\" is ", number_text(model.strictness), ", less than 0"));
}

// The changes are overwritten; `out` is not the base.
template <class T>
void one_stretch(const ConsensusParams& params, std::span<const ConsensusModel> models, const T* base,
                 std::span<T* const> changes, std::int64_t n, T* out) {
  std::vector<T> strictness;
  for (std::size_t t = 0; t < models.size(); ++t) {
    strictness.push_back(static_cast<T>(models[t].strictness));
    if (models[t].weight != 1)
      weights::scaled_sum(static_cast<T>(models[t].weight), changes[t], T(0), changes[t], n, changes[t]);
  }
  weights::sum_where_agreed<T>(params.agree, strictness, changes, n, out);
  add_to_base(base, params.lambda, out, n, out);
}

template <class T>
void run(const TensorPass& pass, const ConsensusParams& params, std::span<const ConsensusModel> models) {
  map_changes<T>(pass, [&](const weights::Tile<T>& tile, std::span<T* const> changes, T* out) {
    one_stretch<T>(params, models, tile[0], changes, tile.count, out);
  });
}

void merge(const TensorPass& pass, const ConsensusParams& params, std::span<const ConsensusModel> models) {
  pass.wide() ? run<double>(pass, params, models) : run<float>(pass, params, models);
}

}  // namespace

void consensus(std::span<const float> base, std::span<const std::span<const float>> tuned,
               const ConsensusParams& params, std::span<const ConsensusModel> models, std::span<float> out) {
  check(params, models);
  const Changes changes(base, tuned);
  std::vector<float> result(out.size());
  one_stretch<float>(params, models, base.data(), changes.pointers, std::ssize(result), result.data());
  std::copy(result.begin(), result.end(), out.begin());
}

Method consensus_method() {
  return {.name = "consensus",
          .summary = "the sum of the changes where several models use the entry",
          .citation = "Wang et al. 2024, arXiv 2405.07813",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = [] { return typed_program<ConsensusParams, ConsensusModel>(merge, check); },
          .parameters = described_fields<ConsensusParams>,
          .model_parameters = described_fields<ConsensusModel>};
}

}  // namespace solera::merge
