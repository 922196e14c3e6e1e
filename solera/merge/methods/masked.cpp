#include "solera/merge/methods/masked.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <vector>

#include "solera/base/error.h"
#include "solera/merge/methods/masker.h"

namespace solera::merge {

namespace {

// A merge's Reduce and its Map: over tiles, or over whole rows where ranks need them.
template <class T, class State, class F>
State reduce_masked(const TensorPass& pass, std::int64_t rank_row, F f) {
  return rank_row > 0
             ? weights::reduce_rows<T, State>(pass.engine, pass.operands, rank_row, f, weights::Reading::kChanges)
             : weights::reduce<T, State>(pass.engine, pass.operands, f, weights::Reading::kChanges);
}

template <class T>
Norms norms_of(const TensorPass& pass, const Masker<T>& masker) {
  return reduce_masked<T, Norms>(pass, masker.rank_row(), [&](const weights::Tile<T>& tile, Norms& state) {
    masker.measure(tile.first, tile.inputs.subspan(1), tile.count, state);
  });
}

template <class T>
std::int64_t balance_of(const TensorPass& pass, const Masker<T>& masker) {
  return reduce_masked<T, Balance>(pass, masker.rank_row(),
                                   [&](const weights::Tile<T>& tile, Balance& state) {
                                     masker.count_votes(tile.first, tile.inputs.subspan(1), tile.count, state);
                                   })
      .votes;
}

template <class T>
void map_masked(const TensorPass& pass, const Masker<T>& masker) {
  const auto merge = [&](const weights::Tile<T>& tile, std::span<T* const> changes, T* out) {
    masker.merge(tile[0], tile.first, changes, tile.count, out);
  };
  masker.rank_row() > 0 ? merge_rows<T>(pass, masker.rank_row(), merge) : map_changes<T>(pass, merge);
}

template <class T>
std::vector<Band<T>> bands_of(const TensorPass& pass, const MaskedMerge& merge) {
  std::vector<RankBand> ranks;
  for (const ModelMask& model : merge.models) {
    if (model.draw) return {};
    ranks.push_back(model.band(pass.elements()));
  }
  const weights::Segment segment{pass.operands};
  return select_bands<T>(pass.engine, std::span(&segment, 1), ranks);
}

// Bytes of a tensor's notes; 0 where none are taken: nothing is measured of random masks, or they are too many to keep.
std::uint64_t notes_memory(const MaskedMerge& merge, std::int64_t elements) {
  constexpr std::uint64_t kMost = 16 << 20;
  if (merge.granularity != Granularity::kTensor ||
      std::none_of(merge.models.begin(), merge.models.end(), std::mem_fn(&ModelMask::measures_draws)))
    return 0;
  const std::uint64_t bytes = MaskNotes::bytes(elements, merge.rank_row) * merge.models.size();
  return bytes > kMost ? 0 : bytes;
}

template <class T>
void by_tensor(const TensorPass& pass, const MaskedMerge& merge) {
  if (pass.elements() == 0) return;
  const auto bands = bands_of<T>(pass, merge);
  Masker<T> masker(merge, bands);
  std::optional<MaskNotes> notes;
  if (masker.needs_norms()) {
    if (notes_memory(merge, pass.elements()) > 0)
      masker.set_notes(
          &notes.emplace(merge.models.size(), pass.elements(), pass.engine.blocking.block, masker.rank_row()));
    masker.set_scales(norms_of<T>(pass, masker).scales(merge));
  }
  if (masker.needs_balance()) masker.set_zero_sign(balance_of<T>(pass, masker) >= 0);
  map_masked<T>(pass, masker);
}

template <class T>
void by_row(const TensorPass& pass, const MaskedMerge& merge) {
  const std::int64_t row = pass.shape.empty() ? 1 : pass.shape.back();
  merge_rows<T>(pass, row, [&](const weights::Tile<T>& tile, std::span<T* const> changes, T* out) {
    Masker<T>(merge, {}).merge_group(tile[0], changes, tile.count, out);
  });
}

// Bytes a worker needs for rows of so many entries, beside what tiles need: the rows themselves, which for_rows()
// keeps, and what ranks or cuts are found in.
std::uint64_t row_memory(const MaskedMerge& merge, std::int64_t row) {
  const auto models = static_cast<std::uint64_t>(merge.models.size());
  return static_cast<std::uint64_t>(row) * (8 * (2 * models + 4) + 12 * models) + RankScratch<double>::bytes(row);
}

}  // namespace

double RandomMask::probability(std::int64_t rank, std::int64_t n) const {
  if (n < 2) return density;
  return density + epsilon - 2 * epsilon * (static_cast<double>(rank) / static_cast<double>(n - 1));
}

RandomStream MaskContext::stream(std::size_t model) const {
  return RandomStream(
      {.seed = seed, .purpose = "merge.mask", .input = ordinals.empty() ? model : ordinals[model], .name = tensor});
}

MaskContext context_of(const Binding& binding) {
  return {.seed = binding.seed,
          .tensor = binding.tensor,
          .ordinals = binding.ordinals,
          .row = binding.shape.empty() ? 1 : binding.shape.back(),
          .elements = checkpoint::element_count(binding.shape),
          .warnings = binding.warnings};
}

void MaskedTensors::add(MaskedMerge merge, std::int64_t row, std::int64_t elements) {
  const bool whole = merge.granularity == Granularity::kModel;
  if (!merges_.empty()) require_one_granularity(merges_.front().granularity == Granularity::kModel, whole);
  const std::int64_t longest = std::max(merge.rank_row, merge.granularity == Granularity::kRow ? row : 0);
  memory_.push_back(notes_memory(merge, elements) + (longest > 0 ? row_memory(merge, longest) : 0));
  merges_.push_back(std::move(merge));
}

bool MaskedTensors::wants_survey() const {
  return !merges_.empty() && merges_.front().granularity == Granularity::kModel;
}

void MaskedTensors::survey(std::span<const TensorPass> passes) {
  bands_ = survey_bands(passes, [&](std::size_t t, std::int64_t n) { return merges_.front().models[t].band(n); });
  bands_.wide ? measure_model<double>(passes) : measure_model<float>(passes);
}

template <class T>
void MaskedTensors::measure_model(std::span<const TensorPass> passes) {
  Norms norms;
  std::int64_t votes = 0;
  for (std::size_t i = 0; i < passes.size(); ++i) {
    const Masker<T> masker(merges_[i], bands_.bands<T>(), i);
    if (masker.needs_norms()) norms.merge(norms_of<T>(passes[i], masker));
  }
  scales_ = norms.scales(merges_.front());
  for (std::size_t i = 0; i < passes.size(); ++i) {
    Masker<T> masker(merges_[i], bands_.bands<T>(), i);
    masker.set_scales(scales_);
    if (masker.needs_balance()) votes += balance_of<T>(passes[i], masker);
  }
  zero_is_positive_ = votes >= 0;
}

void MaskedTensors::merge(std::size_t index, const TensorPass& pass) const {
  bands_.wide || pass.wide() ? run<double>(index, pass) : run<float>(index, pass);
}

template <class T>
void MaskedTensors::run(std::size_t index, const TensorPass& pass) const {
  const MaskedMerge& merge = merges_[index];
  switch (merge.granularity) {
    case Granularity::kTensor:
      return by_tensor<T>(pass, merge);
    case Granularity::kRow:
      return by_row<T>(pass, merge);
    case Granularity::kModel:
      break;
  }
  Masker<T> masker(merge, bands_.bands<T>(), index);
  masker.set_scales(scales_);
  masker.set_zero_sign(zero_is_positive_);
  map_masked<T>(pass, masker);
}

void merge_masked(MaskedMerge merge, std::span<const float> base, std::span<const std::span<const float>> tuned,
                  std::span<float> out) {
  const Changes changes(base, tuned);
  std::vector<float> result(out.size());
  if (merge.rank_row == 0) merge.rank_row = static_cast<std::int64_t>(out.size());
  Masker<float>(merge, {}).merge_group(base.data(), changes.pointers, static_cast<std::int64_t>(out.size()),
                                       result.data());
  std::copy(result.begin(), result.end(), out.begin());
}

}  // namespace solera::merge
