// Search for the weights of a soup: CMA-ES over all coefficients at once, or a curve between two models.
//
//   simplex   w = softmax(H x), a mix for each group; x in R^(k-1), H's columns orthonormal and orthogonal to (1..1)
//   box       theta = base + sum_i c_i (theta_i - base), each c_i in [0, 1]: weights c_i, and 1 - sum_i c_i of the base
//   line      theta = (1 - alpha) theta_0 + alpha theta_1 for alpha on a grid
//   random    w_i = -ln u_i, normalized: Dirichlet(1, ..., 1), even over the simplex; no learning
//
// Why softmax: it is smooth and one to one, every point of it is a valid mix, the uniform mix is the origin, and with H
// (Helmert's basis) a round cloud around it treats all ingredients alike. Sorted spacings reach each mix in (k-1)!
// ways, so the search's cloud would have to choose between mirror images. The price: a weight of exactly 0 is at
// infinity.
//
// The start is trial 1, so the result is never worse. Candidates are those of search/cmaes.h: restarts with twice the
// population when a run is over, all of them functions of the seed, so that a search whose scores are cached repeats
// itself exactly and goes on. Akiba et al. 2025, arXiv 2403.13187 (evolved merges); Wortsman et al. 2022, arXiv
// 2109.01903 (the line: WiSE-FT); Matena and Raffel 2022, arXiv 2111.09832 (line and draws, for Fisher merges).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "solera/soup/greedy.h"
#include "solera/soup/groups.h"

namespace solera::soup {

enum class Domain { kSimplex, kBox };

// Weights as a point for the optimizer and back. In the box the base is the last ingredient.
class Coordinates {
 public:
  Coordinates(Domain domain, int groups, int ingredients);
  int dimension() const { return groups_ * (ingredients_ - 1); }
  // Weights below 0.01 / k count as that on the simplex; the box's coefficients are clipped to it.
  std::vector<double> point(const Blend& blend) const;
  Blend blend(std::span<const double> point) const;

 private:
  Domain domain_;
  int groups_, ingredients_;
  std::vector<std::vector<double>> basis_;  // H: k rows of k - 1
};

struct CoefficientOptions {
  Domain domain = Domain::kSimplex;
  int budget = 100;       // trials, the start included
  double sigma = 0;       // the first step size; 0: 1 on the simplex, 1/6 of a side in a box
  bool minimize = false;  // lower scores are better
  std::uint64_t seed = 0;
  int jobs = 1;
};

struct BlendTrial {
  Blend blend;
  int generation = 0, candidate = 0;  // from 1; 0 for the start
  double alpha = 0;                   // of a line
  bool better = false;                // than all before it
  Evaluation evaluation;
};
using EvaluateBlend = std::function<Evaluation(const Blend& blend)>;  // thread-safe where jobs > 1; throws to end it
using OnBlendTrial = std::function<void(const BlendTrial& trial)>;    // in order, one call at a time

struct BlendResult {
  std::vector<BlendTrial> trials;
  int best = 0;  // the first of the best trials
  int generations = 0, restarts = 0;
  const BlendTrial& best_trial() const { return trials[static_cast<std::size_t>(best)]; }
};

// Throws Error: a budget or jobs below 1 (usage), a score that is not finite (input), what `evaluate` throws.
BlendResult search_coefficients(const Blend& start, const CoefficientOptions& options, const EvaluateBlend& evaluate,
                                const OnBlendTrial& on_trial = {});
// Any numbers, each within its range: rows.front() of a trial's blend are the values, which need not sum to 1. Ranges
// are not empty and hold the start.
struct Box {
  std::vector<double> start, low, high;
};
BlendResult search_box(const Box& box, const CoefficientOptions& options, const EvaluateBlend& evaluate,
                       const OnBlendTrial& on_trial = {});
// alpha = 0, 1 / (points - 1), ..., 1; at least two points.
BlendResult search_line(int points, const CoefficientOptions& options, const EvaluateBlend& evaluate,
                        const OnBlendTrial& on_trial = {});

// `options.budget` draws of weights for so many models, a function of the seed and the draw's number.
BlendResult search_random(int models, const CoefficientOptions& options, const EvaluateBlend& evaluate,
                          const OnBlendTrial& on_trial = {});

}  // namespace solera::soup
