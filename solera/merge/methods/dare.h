// DARE: drop a random share of every task's changes, enlarge the rest, and add them up, or elect signs among them.
//
//   tau_t = x_t - base                                   float32
//   z_t,i ~ Bernoulli(density)                           one draw an entry
//   d_t   = c_t z_t tau_t                                c_t below
//   dare_linear: out = base + lambda sum_t w_t d_t       / sum_t w_t with normalize (a sum below 1e-8 counts as 1)
//   dare_ties:   out = base + lambda m                   m: the changes that agree with the elected sign, as in ties.h
//   c_t   = 1 / density             rescale_by: probability, so that E d_t = tau_t
//         = sum |tau_t| / sum |z_t tau_t|                rescale_by: l1, of the tensor; 1 where either is below 1e-7
//         = 1 / q                                        where q is given (DAREx-q: q above density trades bias for
//                                                        variance)
//         = 1                                            rescale: false, or density >= 1
//
// Yu, Yu, Yu, Huang and Li, ICML 2024, arXiv 2311.03099; q: Deng et al., ICLR 2025, arXiv 2410.09344; l1: mergekit.
// Shapes: any, all inputs alike. Random: the draw of an entry is a function of the seed, the model's place, the
// tensor's name and the entry's index, and both methods draw alike. lambda = 0 gives the base's bits. Cost: one read of
// each input, one more with l1, one more with zero_vote: majority.
#pragma once

#include <span>

#include "solera/merge/methods/masked.h"

namespace solera::merge {

struct DareLinearParams {
  double lambda = 1.0;
  bool normalize = false;
  bool rescale = true;
  RescaleBy rescale_by = RescaleBy::kProbability;
};
struct DareTiesParams {
  double lambda = 1.0;
  bool normalize = true;
  bool rescale = true;
  RescaleBy rescale_by = RescaleBy::kProbability;
  Vote vote = Vote::kChange;
  ZeroVote zero_vote = ZeroVote::kMajority;
};
struct DareModel {
  double weight = 1.0;
  double density = 0.1;
  double q = 0;
};

template <class Visitor>
void fields(DareLinearParams& p, Visitor&& field) {
  field("lambda", p.lambda, "factor on the summed changes", "finite").alias("alpha");
  field("normalize", p.normalize, "divide the sum by the sum of the weights");
  field("rescale", p.rescale, "enlarge what is kept");
  field("rescale_by", p.rescale_by, "by 1/density, or to the L1 norm of all changes", kRescaleNames).mergekit("l1");
}
template <class Visitor>
void fields(DareTiesParams& p, Visitor&& field) {
  field("lambda", p.lambda, "factor on the merged change", "finite").alias("alpha");
  field("normalize", p.normalize, "divide by the weights that agree (else a plain sum)").mergekit(false);
  field("rescale", p.rescale, "enlarge what is kept");
  field("rescale_by", p.rescale_by, "by 1/density, or to the L1 norm of all changes", kRescaleNames).mergekit("l1");
  field("vote", p.vote, "what votes on the sign", kVoteNames).mergekit("weighted");
  field("zero_vote", p.zero_vote, "sign where the votes cancel", kZeroVoteNames).mergekit("positive");
}
template <class Visitor>
void fields(DareModel& m, Visitor&& field) {
  field("weight", m.weight, "factor on this model's changes", "finite").mergekit_required();
  field("density", m.density, "probability that a change is kept", "(0, 1]").mergekit(1.0);
  field("q", m.q, "enlarge by 1/q instead (DAREx); 0: as rescale_by says", "[0, inf)");
}

// The formulas for one tensor in memory. `out` may be `base` itself. Requires equal sizes. Throws Error (usage) for a q
// with rescale: false.
void dare_linear(std::span<const float> base, std::span<const std::span<const float>> tuned,
                 const DareLinearParams& params, std::span<const DareModel> models, const MaskContext& context,
                 std::span<float> out);
void dare_ties(std::span<const float> base, std::span<const std::span<const float>> tuned, const DareTiesParams& params,
               std::span<const DareModel> models, const MaskContext& context, std::span<float> out);

Method dare_linear_method();
Method dare_ties_method();

}  // namespace solera::merge
