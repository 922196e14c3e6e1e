#include "solera/merge/methods/sce.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "solera/base/text.h"
#include "solera/merge/methods/changes.h"
#include "solera/weights/mixing.h"
#include "solera/weights/select.h"

namespace solera::merge {

namespace {

template <class T>
using Selection = std::optional<weights::Cut<T>>;  // of the variances; none: all entries are in

struct Count {
  std::int64_t entries = 0;
  void merge(const Count& right) { entries += right.entries; }
};

// Zeroes the changes outside the selection; `variances` has room for n. Every selected variance is above 0.
template <class T>
void select(const Selection<T>& selection, std::int64_t first, std::span<T* const> changes, std::int64_t n,
            T* variances) {
  if (!selection) return;
  weights::variance_of<T>(changes, n, variances);
  weights::keep_between(weights::end_cut<T>(0), *selection, 0, first, n, variances);
  for (T* change : changes) weights::keep_where_positive(variances, n, change);
}

// Mean squares: the weights before they are put in proportion.
struct Squares {
  std::vector<weights::LaneSum> sums;
  template <class T>
  void add(std::span<T* const> changes, std::int64_t n) {
    sums.resize(changes.size());
    for (std::size_t i = 0; i < changes.size(); ++i) sums[i].add_product(changes[i], changes[i], n);
  }
  void merge(const Squares& right) {
    sums.resize(right.sums.size());
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i].merge(right.sums[i]);
  }
  template <class T>
  std::vector<T> weights(std::int64_t n) const {
    double total = 0;
    for (const auto& sum : sums) total += sum.total() / static_cast<double>(n);
    std::vector<T> result;
    for (const auto& sum : sums)
      result.push_back(static_cast<T>(total < 1e-6 ? 1.0 / static_cast<double>(sums.size())
                                                   : sum.total() / static_cast<double>(n) / total));
    return result;
  }
};

template <class T>
void finish(std::span<const T> shares, const T* base, std::span<T* const> changes, std::int64_t n, T* out) {
  weights::elect<T>({.weighted_vote = false, .normalize = true, .zero_is_positive = true, .least_divisor = 1e-6},
                    shares, changes, n, out);
  add_to_base(base, 1.0, out, n, out);
}

template <class T>
Selection<T> selection_of(const TensorPass& pass, const SceParams& params) {
  if (params.select_topk >= 1) return std::nullopt;
  const auto count = weights::reduce<T, Count>(
      pass.engine, pass.operands,
      [](const weights::Tile<T>& tile, Count& state) {
        weights::variance_of<T>(tile.inputs.subspan(1), tile.count, tile[0]);
        state.entries += std::count_if(tile[0], tile[0] + tile.count, [](T v) { return v > 0; });
      },
      weights::Reading::kChanges);
  const std::int64_t k = params.select_topk <= 0 ? 0 : floor_count(params.select_topk, count.entries);
  const weights::Score<T> variance{1, [](std::size_t, std::int64_t, std::int64_t n, std::span<T* const> rows) {
                                     weights::variance_of<T>(rows.subspan(1), n, rows[0]);
                                   }};
  const weights::Segment segment{pass.operands};
  const weights::RankRequest request{0, k};
  return weights::select_score_cuts<T>(pass.engine, std::span(&segment, 1), weights::Reading::kChanges, variance,
                                       std::span(&request, 1))
      .front();
}

template <class T>
void run(const TensorPass& pass, const SceParams& params) {
  if (pass.elements() == 0) return;
  const Selection<T> selection = selection_of<T>(pass, params);
  const auto squares = weights::reduce<T, Squares>(
      pass.engine, pass.operands,
      [&](const weights::Tile<T>& tile, Squares& state) {
        select(selection, tile.first, tile.inputs.subspan(1), tile.count, tile[0]);
        state.add(tile.inputs.subspan(1), tile.count);
      },
      weights::Reading::kChanges);
  const std::vector<T> shares = squares.template weights<T>(pass.elements());
  map_changes<T>(pass, [&](const weights::Tile<T>& tile, std::span<T* const> changes, T* out) {
    select(selection, tile.first, changes, tile.count, out);
    finish<T>(shares, tile[0], changes, tile.count, out);
  });
}

void merge(const TensorPass& pass, const SceParams& params, std::span<const NoParams>) {
  pass.wide() ? run<double>(pass, params) : run<float>(pass, params);
}

}  // namespace

void sce(std::span<const float> base, std::span<const std::span<const float>> tuned, const SceParams& params,
         std::span<float> out) {
  const auto n = static_cast<std::int64_t>(out.size());
  const Changes changes(base, tuned);
  std::vector<float> variances(out.size()), result(out.size());
  Selection<float> selection;
  if (params.select_topk < 1) {
    weights::variance_of<float>(changes.pointers, n, variances.data());
    const std::int64_t differing = std::count_if(variances.begin(), variances.end(), [](float v) { return v > 0; });
    const std::int64_t k = params.select_topk <= 0 ? 0 : floor_count(params.select_topk, differing);
    selection = weights::select_cut<float>(variances, k);
  }
  select<float>(selection, 0, changes.pointers, n, variances.data());
  Squares squares;
  squares.add<float>(changes.pointers, n);
  finish<float>(squares.weights<float>(n), base.data(), changes.pointers, n, result.data());
  std::copy(result.begin(), result.end(), out.begin());
}

Method sce_method() {
  return {.name = "sce",
          .summary = "changes weighed by their size where models differ most",
          .citation = "Wan et al. 2024, arXiv 2408.07990",
          .base = BasePolicy::kRequired,
          .min_models = 1,
          .program = [] { return typed_program<SceParams, NoParams>(merge); },
          .parameters = described_fields<SceParams>,
          .model_parameters = described_fields<NoParams>};
}

}  // namespace solera::merge
