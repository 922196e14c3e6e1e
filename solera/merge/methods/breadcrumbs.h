// Model Breadcrumbs: add the middle band of every task's weight changes to the base.
//
//   tau_t = x_t - base                                 float32, n entries a group
//   r = floor(remove n),   k = floor(keep n)           exactly, from the decimal text
//   m_t,i = 1 if r <= rank(|tau_t,i|) < r + k, else 0  rank 0 is the largest
//   out   = base + alpha sum_t w_t c_t m_t tau_t       rounded once, to the output type
//   c_t   = 1, with rescale sum |tau_t| / sum |m_t tau_t|
//
// Davari and Belilovsky, ECCV 2024, arXiv 2312.06795. Their code groups by row, the paper by tensor. With remove_first:
// false the ranks are r to k: the largest are dropped from what was kept. Shapes: any, all inputs alike. A group where
// floor(keep n) is 0 follows `small_tensor`. Equal magnitudes go by index, the lower first, so exactly k entries
// survive in each group. Not random. alpha = 0 gives the base's bits. Cost: two reads of each input; memory: about 1 %
// of a group's changes.
#pragma once

#include <cstdint>
#include <span>

#include "solera/merge/method.h"
#include "solera/merge/methods/masked.h"

namespace solera::merge {

enum class SmallTensor { kKeepAll, kZero };
enum class Overlap { kError, kShrink };

struct BreadcrumbsParams {
  double alpha = 0.3;
  bool normalize = false;
  Granularity granularity = Granularity::kTensor;
  SmallTensor small_tensor = SmallTensor::kKeepAll;
  bool remove_first = true;
  Overlap overlap = Overlap::kError;
  bool rescale = false;
};
struct BreadcrumbsModel {
  double weight = 1.0;
  double keep = 0.15;
  double remove = 0.006;
};

template <class Visitor>
void fields(BreadcrumbsParams& p, Visitor&& field) {
  field("alpha", p.alpha, "factor on the summed changes", "finite").alias("lambda").mergekit(1.0);
  field("normalize", p.normalize, "divide the sum by the sum of the weights");
  field("granularity", p.granularity, "group in which the fractions count", kGranularityNames);
  field("small_tensor", p.small_tensor, "a group where floor(keep n) = 0", "keep_all | zero")
      .mergekit("zero")
      .per_group();
  field("remove_first", p.remove_first, "drop the largest before (else from) those kept").per_group();
  field("overlap", p.overlap, "where keep + remove > 1: refuse, or remove less", "error | shrink")
      .mergekit("shrink")
      .per_group();
  field("rescale", p.rescale, "enlarge what is kept to the L1 norm of all changes").per_group();
}
template <class Visitor>
void fields(BreadcrumbsModel& m, Visitor&& field) {
  field("weight", m.weight, "factor on this model's changes", "finite").mergekit_required();
  field("keep", m.keep, "fraction of changes kept", "(0, 1]").alias("density").mergekit(1.0).per_group();
  field("remove", m.remove, "fraction of the LARGEST changes dropped", "[0, 1)")
      .alias("gamma")
      .mergekit(0.01)
      .per_group();
}

// Throws Error (usage) where keep + remove > 1 and the overlap is an error.
void check_breadcrumbs(const BreadcrumbsParams& params, std::span<const BreadcrumbsModel> models);

// What each tensor gets.
MaskedMerge masked_breadcrumbs(const BreadcrumbsParams& params, std::span<const BreadcrumbsModel> models);

// The ranks that survive among n entries. keep >= 1 without removal, or under Overlap::kShrink, is all of them.
RankBand breadcrumbs_band(const BreadcrumbsParams& params, const BreadcrumbsModel& model, std::int64_t n);

// The formula for one group in memory. `out` may be `base` itself. Requires equal sizes; granularity is the caller's.
// Throws Error (usage) if keep + remove > 1: "keep + remove is 1.05, more than 1"; hint "lower keep or remove".
void breadcrumbs(std::span<const float> base, std::span<const std::span<const float>> tuned,
                 const BreadcrumbsParams& params, std::span<const BreadcrumbsModel> models, std::span<float> out);

Method breadcrumbs_method();

}  // namespace solera::merge
