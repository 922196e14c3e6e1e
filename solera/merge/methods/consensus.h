// Consensus merging: the sum of the changes, only where at least k of the fine-tunes use the entry.
//
//   tau_t = w_t (x_t - base),   tau = sum_t tau_t
//   m_t = 1 if |tau_t| >= strictness_t |tau - tau_t|, else 0      task t's mask of the entries it uses (TALL mask)
//   out = base + lambda tau where sum_t m_t >= agree, else base   rounded once, to the output type
//
// Wang, Dimitriadis, Ortiz-Jimenez, Fleuret and Frossard, ICML 2024, arXiv 2405.07813, sections 4 and 5.3 (Consensus
// Task Arithmetic). Entries that no task uses ("catastrophic") and, with agree: 2, those that one alone uses
// ("selfish") stay the base's. agree: 0 is task arithmetic, more than there are models the base. Shapes: any, all
// inputs alike; entry by entry. Arithmetic is float32, float64 where an input is. lambda = 0 gives the base's bits. Not
// random. Cost: one read of each input.
#pragma once

#include <cstdint>
#include <span>

#include "solera/merge/method.h"

namespace solera::merge {

struct ConsensusParams {
  double lambda = 1.0;
  std::int64_t agree = 2;
};
struct ConsensusModel {
  double weight = 1.0;
  double strictness = 0.4;
};

template <class Visitor>
void fields(ConsensusParams& p, Visitor&& field) {
  field("lambda", p.lambda, "factor on the summed changes", "finite").alias("alpha");
  field("agree", p.agree, "how many models must use an entry", "[0, inf)").alias("prun_thre_k");
}
template <class Visitor>
void fields(ConsensusModel& m, Visitor&& field) {
  field("weight", m.weight, "factor on this model's changes", "finite");
  field("strictness", m.strictness, "this model uses entries that it changes by this fraction of what the others do",
        "[0, inf)");
}

// The formula in memory. `out` may be `base` itself. Requires equal sizes.
void consensus(std::span<const float> base, std::span<const std::span<const float>> tuned,
               const ConsensusParams& params, std::span<const ConsensusModel> models, std::span<float> out);

Method consensus_method();

}  // namespace solera::merge
