#include "solera/merge/methods/masked.h"

#include <algorithm>
#include <vector>

#include "solera/merge/methods/changes.h"

namespace solera::merge {

namespace {

template <class T>
std::vector<T> weights_of(const MaskedMerge& merge) {
  std::vector<T> weights;
  for (const ModelMask& model : merge.models) weights.push_back(static_cast<T>(model.weight));
  return weights;
}

// Positive minus negative votes: whose sign cancelled votes take.
struct Balance {
  std::int64_t votes = 0;
  void merge(const Balance& right) { votes += right.votes; }
  template <class T>
  void add(Vote kind, std::span<const T> weights, std::span<T* const> rows, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
      T vote = 0;
      for (std::size_t t = 0; t < rows.size(); ++t)
        vote = vote + (kind == Vote::kWeighted ? weights[t] * rows[t][i] : rows[t][i]);
      votes += (vote > 0) - (vote < 0);
    }
  }
};

// A merge with all that had to be found out before its tiles.
template <class T>
class Masker {
 public:
  // `bands`: of tensor `segment` of a whole model, or of one alone.
  Masker(const MaskedMerge& merge, std::span<const Band<T>> bands, std::size_t segment = 0)
      : merge_(merge), weights_(weights_of<T>(merge)), bands_(bands), segment_(segment) {}

  bool needs_balance() const { return merge_.election && merge_.election->zero_vote == ZeroVote::kMajority; }
  void set_zero_sign(bool positive) { zero_is_positive_ = positive; }

  void count_votes(const weights::Tile<T>& tile, Balance& state) const {
    const std::span<T* const> changes = tile.inputs.subspan(1);
    mask(tile.first, tile.count, changes);
    state.add<T>(merge_.election->vote, weights_, changes, tile.count);
  }

  // Elements [first, first + n); the changes may be overwritten.
  void merge(const T* base, std::int64_t first, std::span<T* const> changes, std::int64_t n, T* out) const {
    if (merge_.election) {
      mask(first, n, changes);
      return merge_kept(base, changes, n, out);
    }
    std::fill_n(out, n, T(0));
    for (std::size_t t = 0; t < bands_.size(); ++t) bands_[t].add(segment_, first, n, weights_[t], changes[t], out);
    add_to_base(base, factor(), out, n, out);
  }

  // The same for changes whose masks are on them already.
  void merge_kept(const T* base, std::span<T* const> changes, std::int64_t n, T* out) const {
    if (merge_.election) {
      weights::elect<T>({merge_.election->vote == Vote::kWeighted, merge_.normalize, zero_is_positive_}, weights_,
                        changes, n, out);
    } else {
      std::fill_n(out, n, T(0));
      for (std::size_t t = 0; t < changes.size(); ++t) weights::add_scaled(weights_[t], changes[t], n, out);
    }
    add_to_base(base, factor(), out, n, out);
  }

  // A group of its own, wholly here.
  void merge_group(const T* base, std::span<T* const> changes, std::int64_t n, T* out) {
    for (std::size_t t = 0; t < changes.size(); ++t)
      keep_ranks(merge_.models[t].band(n), std::span<T>(changes[t], static_cast<std::size_t>(n)));
    if (needs_balance()) {
      Balance votes;
      votes.add<T>(merge_.election->vote, weights_, changes, n);
      set_zero_sign(votes.votes >= 0);
    }
    merge_kept(base, changes, n, out);
  }

 private:
  void mask(std::int64_t first, std::int64_t n, std::span<T* const> changes) const {
    for (std::size_t t = 0; t < bands_.size(); ++t) bands_[t].keep(segment_, first, n, changes[t]);
  }

  double factor() const {
    return merge_.normalize && !merge_.election ? merge_.lambda / weight_sum(merge_.models) : merge_.lambda;
  }

  const MaskedMerge& merge_;
  std::vector<T> weights_;
  std::span<const Band<T>> bands_;
  std::size_t segment_;
  bool zero_is_positive_ = true;
};

template <class T>
std::int64_t balance(const TensorPass& pass, const Masker<T>& masker) {
  const auto count = [&](const weights::Tile<T>& tile, Balance& state) { masker.count_votes(tile, state); };
  return weights::reduce<T, Balance>(pass.engine, pass.operands, count, weights::Reading::kChanges).votes;
}

template <class T>
void map_masked(const TensorPass& pass, const Masker<T>& masker) {
  map_changes<T>(pass, [&](const weights::Tile<T>& tile, std::span<T* const> changes, T* out) {
    masker.merge(tile[0], tile.first, changes, tile.count, out);
  });
}

template <class T>
void by_tensor(const TensorPass& pass, const MaskedMerge& merge) {
  std::vector<RankBand> ranks;
  for (const ModelMask& model : merge.models) ranks.push_back(model.band(pass.elements()));
  const weights::Segment segment{pass.operands};
  const auto bands = select_bands<T>(pass.engine, std::span(&segment, 1), ranks);
  Masker<T> masker(merge, bands);
  if (masker.needs_balance()) masker.set_zero_sign(balance<T>(pass, masker) >= 0);
  map_masked<T>(pass, masker);
}

template <class T>
void by_row(const TensorPass& pass, const MaskedMerge& merge) {
  merge_rows<T>(pass, [&](const T* base, std::span<T* const> changes, std::int64_t n, T* out) {
    Masker<T>(merge, {}).merge_group(base, changes, n, out);
  });
}

}  // namespace

bool MaskedTensors::wants_survey() const {
  return !merges_.empty() && merges_.front().granularity == Granularity::kModel;
}

void MaskedTensors::survey(std::span<const TensorPass> passes) {
  bands_ = survey_bands(passes, [&](std::size_t t, std::int64_t n) { return merges_.front().models[t].band(n); });
  std::int64_t votes = 0;
  const auto count = [&]<class T>(std::size_t i, const std::vector<Band<T>>& bands) {
    const Masker<T> masker(merges_[i], bands, i);
    if (masker.needs_balance()) votes += balance<T>(passes[i], masker);
  };
  for (std::size_t i = 0; i < passes.size(); ++i)
    bands_.wide ? count(i, bands_.wide_bands) : count(i, bands_.narrow_bands);
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
  masker.set_zero_sign(zero_is_positive_);
  map_masked<T>(pass, masker);
}

void merge_masked(const MaskedMerge& merge, std::span<const float> base, std::span<const std::span<const float>> tuned,
                  std::span<float> out) {
  const Changes changes(base, tuned);
  std::vector<float> result(out.size());
  Masker<float>(merge, {}).merge_group(base.data(), changes.pointers, static_cast<std::int64_t>(out.size()),
                                       result.data());
  std::copy(result.begin(), result.end(), out.begin());
}

}  // namespace solera::merge
