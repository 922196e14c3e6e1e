// How changes of several tasks compete for each entry: the hot loops of merge/methods/pcb.h, which has the formulas.
//
// Float64. exp() and tanh() are this file's own, multiplication and addition are rounded apart and sums over tasks run
// in their order, so every SIMD target gives the same bits. rows[i] are the changes of task i.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace solera::weights {

enum class InterScore { kSumTanh, kSumTanhNormed, kPairwiseTanh };
enum class Competing { kCode, kPaper };

// What has been measured of all entries of a group, task by task; pairs (i, j) at i tasks + j, symmetric.
struct Competition {
  Competing rule = Competing::kCode;
  InterScore inter = InterScore::kSumTanh;  // of kCode
  double sharpness = 1;                     // N in exp(N Norm^2)
  std::vector<double> low, high;            // kCode: magnitudes are clipped to it
  std::vector<double> pair_low, pair_high;  // kPaper: of the products of changes
  std::vector<double> pair_sum, self_sum;   // kPaper: of product_terms() of sharpness 1, and of (i, i) of `sharpness`
  std::vector<double> threshold, most;      // scores: the last that is cut, and the largest (kCode alone)

  std::size_t tasks() const { return threshold.size(); }
};

// The scores of entries, in place: B e^-N (over N for kPairwiseTanh) from -1 to 1 up to rounding, -1 where one is no
// number, or beta.
void competition_scores(const Competition& competition, std::span<double* const> rows, std::int64_t n);

// Such scores as numbers from 0 on, in the same order, and back: selection knows magnitudes.
void scores_as_magnitudes(double* scores, std::int64_t n);
double magnitude_as_score(double magnitude);

// out = the mean of the changes that are merged, factors[i] times task i's, weighed by their scores' height above the
// threshold (kCode) or by the scores from the threshold on (kPaper); 0 where no score is.
void competition_mean(const Competition& competition, std::span<const double> factors, std::span<double* const> rows,
                      std::int64_t n, double* out);

// The smallest and the largest of a b so far.
void product_extremes(const double* a, const double* b, std::int64_t n, double& low, double& high);

// out = exp(sharpness ((a b - low) / (high - low) - 1)); exp(-sharpness) where low = high.
void product_terms(double low, double high, double sharpness, const double* a, const double* b, std::int64_t n,
                   double* out);

}  // namespace solera::weights
