// DELLA: drop small changes more often than large ones, enlarge the rest, and elect signs among them, or add them up.
//
//   tau_t = x_t - base                                   float32
//   r     = rank of |tau_t,i| among the m of its row     0 is the largest; the whole tensor with granularity: tensor
//   p_i   = density + epsilon - 2 epsilon r / (m - 1)    density where m is 1
//   z_t,i ~ Bernoulli(p_i)                               one draw an entry
//   d_t   = c_t,i z_t tau_t                              c_t,i below
//   della:        out = base + lambda m                  m: the changes that agree with the elected sign, as in ties.h
//   della_linear: out = base + lambda sum_t w_t d_t      / sum_t w_t with normalize (a sum below 1e-8 counts as 1)
//   c_t,i = 1 / p_i                                      rescale_by: probability, so that E d_t = tau_t
//         = sum |tau_t| / sum |z_t tau_t|                rescale_by: l1, of the tensor; 1 where either is below 1e-7
//         = 1                                            rescale: false, or density >= 1
//
// Deep, Bhardwaj and Poria 2024, arXiv 2406.11617 (MagPrune, then elect and fuse); the paper's epsilon is the whole
// width of the probabilities, ours, as mergekit's, half of it. A row is the last dimension, a vector is one. Equal
// magnitudes go by index, the lower first. Random: draws as in dare.h, and the same ones. density >= 1 keeps all, 0
// nothing. lambda = 0 gives the base's bits. Cost: one read of each input and exact ranks, one more of both with l1
// and with zero_vote: majority; memory: about 90 bytes an entry of a row and worker, and 28 more a model.
#pragma once

#include <span>

#include "solera/merge/methods/masked.h"

namespace solera::merge {

enum class RankGroup { kRow, kTensor };

struct DellaLinearParams {
  double lambda = 1.0;
  bool normalize = false;
  bool rescale = true;
  RescaleBy rescale_by = RescaleBy::kProbability;
  RankGroup granularity = RankGroup::kRow;
};
struct DellaParams {
  double lambda = 1.0;
  bool normalize = true;
  bool rescale = true;
  RescaleBy rescale_by = RescaleBy::kProbability;
  RankGroup granularity = RankGroup::kRow;
  Vote vote = Vote::kChange;
  ZeroVote zero_vote = ZeroVote::kMajority;
};
struct DellaModel {
  double weight = 1.0;
  double density = 0.5;
  double epsilon = 0.15;
};

template <class Visitor>
void fields(DellaLinearParams& p, Visitor&& field) {
  field("lambda", p.lambda, "factor on the summed changes", "finite").alias("alpha");
  field("normalize", p.normalize, "divide the sum by the sum of the weights");
  field("rescale", p.rescale, "enlarge what is kept");
  field("rescale_by", p.rescale_by, "by 1/probability, or to the L1 norm of all changes", kRescaleNames).mergekit("l1");
  field("granularity", p.granularity, "group in which magnitudes are ranked", "row | tensor");
}
template <class Visitor>
void fields(DellaParams& p, Visitor&& field) {
  field("lambda", p.lambda, "factor on the merged change", "finite").alias("alpha");
  field("normalize", p.normalize, "divide by the weights that agree (else a plain sum)");
  field("rescale", p.rescale, "enlarge what is kept");
  field("rescale_by", p.rescale_by, "by 1/probability, or to the L1 norm of all changes", kRescaleNames).mergekit("l1");
  field("granularity", p.granularity, "group in which magnitudes are ranked", "row | tensor");
  field("vote", p.vote, "what votes on the sign", kVoteNames).mergekit("weighted");
  field("zero_vote", p.zero_vote, "sign where the votes cancel", kZeroVoteNames).mergekit("positive");
}
template <class Visitor>
void fields(DellaModel& m, Visitor&& field) {
  field("weight", m.weight, "factor on this model's changes", "finite").mergekit_required();
  field("density", m.density, "mean probability that a change is kept", "(0, 1]").mergekit(1.0);
  field("epsilon", m.epsilon, "how far the largest change's probability lies above it, the smallest's below", "[0, 1)");
}

// The formulas for one tensor in memory, its rows of context.row entries. `out` may be `base` itself. Requires equal
// sizes. Throws Error (usage) where density - epsilon or density + epsilon is not between 0 and 1.
void della(std::span<const float> base, std::span<const std::span<const float>> tuned, const DellaParams& params,
           std::span<const DellaModel> models, const MaskContext& context, std::span<float> out);
void della_linear(std::span<const float> base, std::span<const std::span<const float>> tuned,
                  const DellaLinearParams& params, std::span<const DellaModel> models, const MaskContext& context,
                  std::span<float> out);

Method della_method();
Method della_linear_method();

}  // namespace solera::merge
