// Which of a model's changes survive: a band of ranks of their magnitudes, within a tensor, a row or the whole model.
// TIES keeps the ranks from 0, Breadcrumbs those between two cuts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "solera/merge/method.h"
#include "solera/weights/select.h"

namespace solera::merge {

enum class Granularity { kTensor, kRow, kModel };
inline constexpr const char* kGranularityNames = "tensor | row | model";

// The whole model is one group for all tensors or for none. Throws Error (usage).
void require_one_granularity(bool first_is_model, bool is_model);

// Ranks [first, last) survive; rank 0 is the largest magnitude, equal ones go by index.
struct RankBand {
  std::int64_t first = 0, last = 0;
  friend bool operator==(const RankBand&, const RankBand&) = default;
};

// The first max(1, floor(density n)) ranks; none for a density of 0 or less, all for 1 or more.
RankBand top_band(double density, std::int64_t n);

template <class T>
struct Band {
  weights::Cut<T> upper, lower;
  // Zeroes changes outside the band: elements [first, first + n) of a segment.
  void keep(std::size_t segment, std::int64_t first, std::int64_t n, T* changes) const {
    weights::keep_between(upper, lower, segment, first, n, changes);
  }
  // sum = sum + weight times the changes in the band.
  void add(std::size_t segment, std::int64_t first, std::int64_t n, T weight, const T* changes, T* sum) const {
    weights::add_between(upper, lower, segment, first, n, weight, changes, sum);
  }
};

// A band a model, over all segments together; operand 0 of each is the base.
template <class T>
std::vector<Band<T>> select_bands(const weights::Engine& engine, std::span<const weights::Segment> segments,
                                  std::span<const RankBand> ranks);

// The same for one model's changes in memory: zeroes those outside the band.
template <class T>
void keep_ranks(const RankBand& ranks, std::span<T> changes);

// The bands of a whole model, found in a survey and used tensor by tensor.
struct ModelBands {
  bool found = false;
  bool wide = false;  // float64 for every tensor, because one needs it
  std::vector<Band<float>> narrow_bands;
  std::vector<Band<double>> wide_bands;

  template <class T>
  const std::vector<Band<T>>& bands() const {
    if constexpr (sizeof(T) == 4)
      return narrow_bands;
    else
      return wide_bands;
  }
};

template <class T>
void visit_state(SurveyState& state, Band<T>& band) {
  for (weights::Cut<T>* cut : {&band.upper, &band.lower}) state(cut->value, cut->segment, cut->last);
}
inline void visit_state(SurveyState& state, ModelBands& bands) {
  state(bands.found, bands.wide, bands.narrow_bands, bands.wide_bands);
}

// All tensors of a whole-model survey. Throws Error (usage) naming those that lack one of the models.
std::vector<weights::Segment> survey_segments(std::span<const TensorPass> passes);

// `ranks(t, n)` gives model t's band among n entries. Throws Error (usage) if a tensor lacks one of the models.
ModelBands survey_bands(std::span<const TensorPass> passes,
                        const std::function<RankBand(std::size_t model, std::int64_t n)>& ranks);

}  // namespace solera::merge
