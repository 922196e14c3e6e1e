// The best rescale 1/q of a random sparse delta, by the score of any program: DAREx-q. START HERE, then
// weights/rescale.h.
//
//   candidate(q) = base + z (tuned - base) / q                 z: the mask of the delta's density and seed
//   labels   score(q) = the metric of candidate(q), one mask
//   change   score(q) = -D(q): the program prints D, how much a candidate's outputs differ from the tuned model's on
//            data without labels; D is averaged over several masks (seed, seed + 1, ...) less the one value farthest
//            from their mean
//   q is one for the whole model, or one a layer from the tail bound at eta, which is searched instead
//
// The search is scan() of search/scan.h: q from the density to 1 in steps of 0.05, eta from 0.1 to 1.1 in steps of 0.1,
// then tenths of that. Every score is cached as soon as it is known, so that the same call goes on after a stop. The
// result is the delta of the best q with the first mask. The base's score and the tuned model's are measured too: q ->
// infinity is the base, so beating q = density alone proves little. Deng et al., ICLR 2025, arXiv 2410.09344.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "solera/search/scan.h"
#include "solera/soup/scorer.h"
#include "solera/weights/rescale.h"

namespace solera::soup {

enum class Judge { kLabels, kChange };

struct RescaleOptions {
  weights::DeltaOptions delta;  // its sparsity is kQ or kColumns; q and divisors are found
  Judge judge = Judge::kLabels;
  bool minimize = false;                 // of kLabels: lower metrics are better
  int masks = 4;                         // of kChange
  std::string statistics;                // of the tuned model: a q for each layer, eta is searched; empty: one q
  std::optional<double> from, to, step;  // of the scan
  EvaluatorOptions evaluator;
  std::string cache;  // folder; empty: .solera-cache beside the delta
};

struct RescaleReport {
  weights::DeltaReport delta;
  bool per_layer = false;
  double value = 0;                                   // the best q, or eta
  weights::Sparsity sparsity;                         // of the delta that was written: q, divisors
  double score = 0, base_score = 0, tuned_score = 0;  // metrics, or changes D
  bool lower_is_better = false;
  search::ScanResult scan;  // scores with the sign that makes higher better
  int evaluations = 0, cached = 0;
  std::string cache;
};

// The mean of values less the one farthest from their mean (the first of equally far ones); of one or two values, the
// mean of all.
double mean_without_farthest(std::span<const double> values);

// Throws Error before the first evaluation for all that can be known by then. Trials as notes, the best as status.
RescaleReport search_rescale(const checkpoint::Checkpoint& base, const checkpoint::Checkpoint& tuned,
                             const RescaleOptions& options, Progress& progress);

}  // namespace solera::soup
