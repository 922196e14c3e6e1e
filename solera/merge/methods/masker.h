// The arithmetic of masked merges on tiles (masked.h has the formula, and the passes are masked.cpp).
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "solera/merge/methods/changes.h"
#include "solera/merge/methods/masked.h"
#include "solera/weights/magnitude_order.h"
#include "solera/weights/mask.h"
#include "solera/weights/ranked_mask.h"

namespace solera::merge {

// Sums of magnitudes of each model's changes before its mask and after: what the L1 rescaling is made of.
struct Norms {
  std::vector<weights::LaneSum> before, after;

  void resize(std::size_t models) {
    before.resize(models);
    after.resize(models);
  }
  void merge(const Norms& right) {
    resize(std::max(before.size(), right.before.size()));
    for (std::size_t t = 0; t < right.before.size(); ++t) {
      before[t].merge(right.before[t]);
      after[t].merge(right.after[t]);
    }
  }
  std::vector<double> scales(const MaskedMerge& merge) const {
    constexpr double kLeast = 1e-7;
    std::vector<double> list;
    for (std::size_t t = 0; t < merge.models.size(); ++t) {
      const double all = t < before.size() ? before[t].total() : 0, kept = t < after.size() ? after[t].total() : 0;
      list.push_back(!merge.models[t].l1 ? merge.models[t].scale : all < kLeast || kept < kLeast ? 1 : all / kept);
    }
    return list;
  }
};

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

// What a thread ranks rows in.
template <class T>
struct RankScratch {
  weights::RankedMask<T> mask;
  weights::MagnitudeOrder<T> order;
  std::vector<std::uint16_t> halves;
  static std::uint64_t bytes(std::int64_t n) {
    return weights::RankedMask<T>::bytes(n) + weights::MagnitudeOrder<T>::bytes(n) + static_cast<std::uint64_t>(n) * 2;
  }
  static RankScratch& own() {
    static thread_local RankScratch scratch;
    return scratch;
  }
};

// A random mask's thresholds and factors by rank, for rows of n entries.
template <class T>
struct Ladder {
  Ladder() = default;
  Ladder(const RandomMask& mask, std::int64_t n) {
    for (std::int64_t rank = 0; rank < n; ++rank) {
      const double p = mask.probability(rank, n);
      thresholds.push_back(weights::draw_threshold(p));
      if (mask.divide) factors.push_back(static_cast<T>(1 / p));
    }
  }
  std::vector<std::uint32_t> thresholds;
  std::vector<T> factors;  // none: 1
};

// Random masks of a tensor that norms are measured with before it is merged: a bit an element and model, so that draws
// and ranks are found once. Tiles are those of for_tiles() with such blocks, or rows.
class MaskNotes {
 public:
  MaskNotes(std::size_t models, std::int64_t elements, std::int64_t block, std::int64_t rank_row)
      : places_(block, rank_row), bits_(models, std::vector<std::uint8_t>(places_.bytes(elements))) {}
  std::uint8_t* at(std::size_t model, std::int64_t first) { return bits_[model].data() + places_.of(first); }

  // Of one model, with blocks as they usually are.
  static std::uint64_t bytes(std::int64_t elements, std::int64_t rank_row) {
    return Places(weights::Blocking().block, rank_row).bytes(elements);
  }

 private:
  // Every tile begins a byte, however long it is.
  struct Places {
    Places(std::int64_t block, std::int64_t rank_row)
        : stretch(rank_row > 0 ? rank_row : block), tile(rank_row > 0 ? rank_row : weights::kTile) {}
    std::size_t bytes(std::int64_t elements) const {
      return static_cast<std::size_t>((elements + stretch - 1) / stretch * stretch_bytes());
    }
    std::int64_t of(std::int64_t first) const {
      const std::int64_t place = first % stretch;
      return first / stretch * stretch_bytes() + place / tile * tile_bytes() +
             place % tile / 8;  // half tiles of doubles
    }
    std::int64_t tile_bytes() const { return (tile + 7) / 8; }
    std::int64_t stretch_bytes() const { return (stretch + tile - 1) / tile * tile_bytes(); }
    std::int64_t stretch, tile;
  };

  Places places_;
  std::vector<std::vector<std::uint8_t>> bits_;
};

// A merge with all that is found out of it before its tiles. Elements of a tile are [first, first + n) of their tensor;
// changes may be overwritten.
template <class T>
class Masker {
 public:
  // `bands`: of tensor `segment` of a whole model, or of one alone; none where draws decide or groups come whole.
  Masker(const MaskedMerge& merge, std::span<const Band<T>> bands, std::size_t segment = 0)
      : merge_(merge), bands_(bands), segment_(segment) {
    for (const ModelMask& model : merge.models) {
      weights_.push_back(static_cast<T>(model.weight));
      scales_.push_back(model.l1 ? 1 : model.scale);
      if (!model.draw || !model.draw->ranked()) continue;
      ladders_.resize(merge.models.size());
      ladders_[weights_.size() - 1] = Ladder<T>(*model.draw, merge.rank_row);
    }
  }

  // Rows that tiles must be, or 0.
  std::int64_t rank_row() const { return ladders_.empty() ? 0 : merge_.rank_row; }

  bool needs_norms() const {
    return std::any_of(merge_.models.begin(), merge_.models.end(), [](const ModelMask& model) {
      return model.l1 && (!model.draw || (model.draw->density > 0 && model.draw->density < 1));
    });
  }
  void set_scales(std::vector<double> scales) { scales_ = std::move(scales); }
  void set_notes(MaskNotes* notes) { notes_ = notes; }  // measure() takes them, merge() goes by them
  bool needs_balance() const { return merge_.election && merge_.election->zero_vote == ZeroVote::kMajority; }
  void set_zero_sign(bool positive) { zero_is_positive_ = positive; }

  void measure(std::int64_t first, std::span<T* const> changes, std::int64_t n, Norms& state) const {
    state.resize(changes.size());
    for (std::size_t t = 0; t < changes.size(); ++t) {
      if (!merge_.models[t].l1) continue;
      state.before[t].add_magnitudes(changes[t], n);
      mask(t, first, changes[t], n);
      state.after[t].add_magnitudes(changes[t], n);
      if (is_noted(t)) weights::note_nonzero<T>(span_of(changes[t], n), notes_->at(t, first));
    }
  }

  void count_votes(std::int64_t first, std::span<T* const> changes, std::int64_t n, Balance& state) const {
    keep(first, changes, n);
    state.add<T>(merge_.election->vote, weights_, changes, n);
  }

  void merge(const T* base, std::int64_t first, std::span<T* const> changes, std::int64_t n, T* out) const {
    if (merge_.election) {
      keep(first, changes, n);
      return elect(base, changes, n, out);
    }
    std::fill_n(out, n, T(0));
    for (std::size_t t = 0; t < changes.size(); ++t) add(t, first, changes[t], n, out);
    add_to_base(base, factor(), out, n, out);
  }

  // A group of its own, wholly here.
  void merge_group(const T* base, std::span<T* const> changes, std::int64_t n, T* out) {
    const bool measured = needs_norms();
    Norms norms;
    if (measured) norms.resize(changes.size());
    for (std::size_t t = 0; t < changes.size(); ++t) {
      if (measured) norms.before[t].add_magnitudes(changes[t], n);
      if (merge_.models[t].draw)
        mask(t, 0, changes[t], n);
      else
        keep_ranks(merge_.models[t].band(n), std::span<T>(changes[t], static_cast<std::size_t>(n)));
      if (measured) norms.after[t].add_magnitudes(changes[t], n);
    }
    if (measured) set_scales(norms.scales(merge_));
    if (!merge_.election) {
      std::fill_n(out, n, T(0));
      for (std::size_t t = 0; t < changes.size(); ++t) weights::add_scaled(coefficient(t), changes[t], n, out);
      return add_to_base(base, factor(), out, n, out);
    }
    for (std::size_t t = 0; t < changes.size(); ++t) rescale(t, changes[t], n);
    if (needs_balance()) {
      Balance votes;
      votes.add<T>(merge_.election->vote, weights_, changes, n);
      set_zero_sign(votes.votes >= 0);
    }
    elect(base, changes, n, out);
  }

 private:
  static std::span<T> span_of(T* values, std::int64_t n) { return {values, static_cast<std::size_t>(n)}; }

  bool is_noted(std::size_t t) const { return notes_ && merge_.models[t].measures_draws(); }

  // Zeroes what model t's mask drops.
  void mask(std::size_t t, std::int64_t first, T* changes, std::int64_t n) const {
    const ModelMask& model = merge_.models[t];
    if (!model.draw) return bands_[t].keep(segment_, first, n, changes);
    if (!model.draw->ranked())
      return weights::keep_random(model.draw->stream, model.draw->density, first, span_of(changes, n));
    for (std::int64_t at = 0; at < n; at += merge_.rank_row)
      mask_row(*model.draw, ladders_[t], first + at, span_of(changes + at, merge_.rank_row));
  }

  void mask_row(const RandomMask& draw, const Ladder<T>& ladder, std::int64_t first, std::span<T> row) const {
    RankScratch<T>& scratch = RankScratch<T>::own();
    if (ladder.factors.empty()) return scratch.mask.keep(draw.stream, first, ladder.thresholds, row);
    const auto order = scratch.order.sort(row);
    scratch.halves.resize(row.size());
    weights::upper_halves(draw.stream, first, scratch.halves);
    for (std::size_t rank = 0; rank < row.size(); ++rank) {
      const std::uint32_t at = order[rank];
      const bool kept = weights::is_below(draw.stream, first + at, scratch.halves[at], ladder.thresholds[rank]);
      row[at] = kept ? ladder.factors[rank] * row[at] : T(0);
    }
  }

  void rescale(std::size_t t, T* changes, std::int64_t n) const {
    if (scales_[t] != 1) weights::scaled_sum(static_cast<T>(scales_[t]), changes, T(0), changes, n, changes);
  }

  void keep(std::int64_t first, std::span<T* const> changes, std::int64_t n) const {
    for (std::size_t t = 0; t < changes.size(); ++t) {
      const ModelMask& model = merge_.models[t];
      if (is_noted(t)) {
        weights::keep_noted(notes_->at(t, first), static_cast<T>(scales_[t]), span_of(changes[t], n));
      } else if (model.draw && !model.draw->ranked()) {
        weights::keep_random(model.draw->stream, model.draw->density, first, span_of(changes[t], n),
                             static_cast<T>(scales_[t]));
      } else {
        mask(t, first, changes[t], n);
        rescale(t, changes[t], n);
      }
    }
  }

  T coefficient(std::size_t t) const { return static_cast<T>(merge_.models[t].weight * scales_[t]); }

  // sum = sum + what survives, times the weight.
  void add(std::size_t t, std::int64_t first, T* changes, std::int64_t n, T* sum) const {
    const ModelMask& model = merge_.models[t];
    if (is_noted(t)) {
      weights::keep_noted(notes_->at(t, first), T(1), span_of(changes, n));
      return weights::add_scaled(coefficient(t), changes, n, sum);
    }
    if (!model.draw) return bands_[t].add(segment_, first, n, coefficient(t), changes, sum);
    if (!model.draw->ranked())
      return weights::add_random<T>(model.draw->stream, model.draw->density, first, coefficient(t), span_of(changes, n),
                                    sum);
    mask(t, first, changes, n);
    weights::add_scaled(coefficient(t), changes, n, sum);
  }

  void elect(const T* base, std::span<T* const> changes, std::int64_t n, T* out) const {
    weights::elect<T>({merge_.election->vote == Vote::kWeighted, merge_.normalize, zero_is_positive_}, weights_,
                      changes, n, out);
    add_to_base(base, factor(), out, n, out);
  }

  double factor() const {
    return merge_.normalize && !merge_.election ? merge_.lambda / weight_sum(merge_.models) : merge_.lambda;
  }

  const MaskedMerge& merge_;
  std::vector<T> weights_;
  std::vector<double> scales_;
  std::vector<Ladder<T>> ladders_;  // none, or one a model
  std::span<const Band<T>> bands_;
  std::size_t segment_;
  bool zero_is_positive_ = true;
  MaskNotes* notes_ = nullptr;
};

}  // namespace solera::merge
