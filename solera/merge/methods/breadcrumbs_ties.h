// Breadcrumbs with an election: the middle band of every task's changes, of which only those of the elected sign count.
//
//   tau_t = x_t - base                                 float32, n entries a group
//   d_t   = c_t tau_t where its rank is in Breadcrumbs' band (breadcrumbs.h), else 0
//   s     = sign(sum_t d_t)                            vote: change; w_t d_t with vote: weighted
//   m     = sum_{t agrees} w_t d_t                     agrees: d_t != 0 and has the sign s; / sum_{t agrees} w_t if
//                                                      normalize
//   out   = base + alpha m                             rounded once, to the output type
//
// In mergekit, without a publication: Davari and Belilovsky 2024 (arXiv 2312.06795) for the band, Yadav et al. 2023
// (arXiv 2306.01708) for the election. Shapes, ties and small groups as in breadcrumbs.h. Not random. Cost: two reads
// of each input, three with zero_vote: majority, one more with rescale.
#pragma once

#include <span>

#include "solera/merge/methods/breadcrumbs.h"

namespace solera::merge {

struct BreadcrumbsTiesParams {
  BreadcrumbsParams breadcrumbs{.alpha = 1.0};
  Vote vote = Vote::kChange;
  ZeroVote zero_vote = ZeroVote::kMajority;
};

template <class Visitor>
void fields(BreadcrumbsTiesParams& p, Visitor&& field) {
  fields(p.breadcrumbs, field);
  field("vote", p.vote, "what votes on the sign", kVoteNames).mergekit("weighted");
  field("zero_vote", p.zero_vote, "sign where the votes cancel", kZeroVoteNames).mergekit("positive").per_group();
}

// The formula for one group in memory. `out` may be `base` itself. Requires equal sizes; granularity is the caller's.
// Throws Error (usage) as breadcrumbs() does.
void breadcrumbs_ties(std::span<const float> base, std::span<const std::span<const float>> tuned,
                      const BreadcrumbsTiesParams& params, std::span<const BreadcrumbsModel> models,
                      std::span<float> out);

Method breadcrumbs_ties_method();

}  // namespace solera::merge
