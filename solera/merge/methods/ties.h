// TIES: trim each task's small changes, elect a sign for every entry, average the changes that agree with it.
//
//   tau_t = x_t - base                                               float32, n entries a group
//   trim:  d_t = c_t tau_t where it is among the max(1, floor(density n)) largest magnitudes, else 0
//          c_t = 1, or with rescale sum |tau_t| / sum of those kept
//   elect: s = sign(sum_t d_t)                                       vote: change; w_t d_t with vote: weighted
//   merge: m = sum_{t agrees} w_t d_t / sum_{t agrees} w_t           agrees: d_t != 0 and has the sign s
//   out  = base + lambda m                                           rounded once, to the output type
//
// Yadav, Tam, Choshen, Raffel and Bansal, NeurIPS 2023, arXiv 2306.01708 (section 3.2). The paper trims over the whole
// model and gives entries whose votes cancel the majority's sign; mergekit trims tensor by tensor, lets weights vote
// and takes + there. Shapes: any, all inputs alike. Equal magnitudes at the cut go to the lower flat index. lambda = 0
// gives the base's bits. Cost: two reads of each input (three with zero_vote: majority); memory: about 1 % of a group's
// changes. Not random.
#pragma once

#include <span>

#include "solera/merge/method.h"
#include "solera/merge/methods/masked.h"

namespace solera::merge {

struct TiesParams {
  double lambda = 1.0;
  bool normalize = true;
  Granularity granularity = Granularity::kModel;
  Vote vote = Vote::kChange;
  ZeroVote zero_vote = ZeroVote::kMajority;
  bool rescale = false;
};
struct TiesModel {
  double weight = 1.0;
  double density = 0.2;
};

template <class Visitor>
void fields(TiesParams& p, Visitor&& field) {
  field("lambda", p.lambda, "factor on the merged change", "finite").alias("alpha");
  field("normalize", p.normalize, "divide by the weights that agree (else a plain sum)");
  field("granularity", p.granularity, "group in which the density counts", kGranularityNames).mergekit("tensor");
  field("vote", p.vote, "what votes on the sign", kVoteNames).mergekit("weighted");
  field("zero_vote", p.zero_vote, "sign where the votes cancel", kZeroVoteNames).mergekit("positive").per_group();
  field("rescale", p.rescale, "enlarge what is kept to the L1 norm of all changes").per_group();
}
template <class Visitor>
void fields(TiesModel& m, Visitor&& field) {
  field("weight", m.weight, "factor on this model's changes", "finite").mergekit_required();
  field("density", m.density, "fraction of this model's changes kept, largest first", "(0, 1]")
      .mergekit(1.0)
      .per_group();
}

// The formula for one group in memory. `out` may be `base` itself. Requires equal sizes; granularity is the caller's.
void ties(std::span<const float> base, std::span<const std::span<const float>> tuned, const TiesParams& params,
          std::span<const TiesModel> models, std::span<float> out);

Method ties_method();

}  // namespace solera::merge
