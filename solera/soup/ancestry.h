// Do these models come from one initialization? Averages of unrelated networks are worthless, so a soup looks first.
//
//   d_ij = ||theta_i - theta_j|| / sqrt(||theta_i|| ||theta_j||)          0 for equal models, sqrt 2 for unrelated ones
//   c_ij = cos(theta_i - theta_c, theta_j - theta_c)                      theta_c: the base if given, else the mean
//   suspicious:  d_ij >= 0.8  and  c_ij <= 0.6
//
// The distance alone separates unrelated models from fine-tunes, which stay close to each other; the cosine acquits
// models that went far from their base in one direction (with the base as theta_c it is about 0 if one of the two comes
// from the base and 1/2 if neither does). Over floating tensors with at least two dimensions, because gains and
// statistics resemble each other in any two networks; over all floating tensors if there are none.
//
// Cost: one read of those tensors and k^2 / 2 multiplications an entry. Beyond `budget` multiplications evenly spread
// tensors are sampled.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "solera/base/threads.h"
#include "solera/checkpoint/checkpoint.h"

namespace solera::soup {

inline constexpr double kFarApart = 0.8;
inline constexpr double kSameDirection = 0.6;

struct Kinship {
  int i = 0, j = 0;  // i < j
  double distance = 0;
  double cosine = 0;
  bool suspicious() const { return distance >= kFarApart && cosine <= kSameDirection; }
};

// Every pair from the inner products of the models, row by row: gram[a * n + b]. With has_base the last row is the
// base, which is in no pair.
std::vector<Kinship> kinship(std::span<const double> gram, int n, bool has_base);

// The inner products over the tensors described above that all models have in one shape; all 0 if there are none.
// Labels name the models if a value is not finite, which is an Error (input).
std::vector<double> gram_matrix(std::span<const checkpoint::Checkpoint* const> models,
                                std::span<const std::string> labels, Pool& pool, double budget = 4e9);

// The one warning for all suspicious pairs, the farthest named; empty if there are none.
std::string kinship_warning(std::span<const Kinship> pairs, std::span<const std::string> labels);

}  // namespace solera::soup
