// Low-rank factors: what an adapter adds to a weight, and the best factors of a given rank for a change.
//
//   dW = left right            left [rows, r], right [r, columns]; float64 in memory
//
// best_factors() is the truncated singular value decomposition, which no product of that rank comes nearer to (Eckart
// and Young 1936): exact for a matrix with a small side, else by a randomized range finder with two power iterations
// (Halko, Martinsson and Tropp, SIAM Review 2011, arXiv 0909.4061, algorithms 4.4 and 5.1) whose test matrix is a
// function of the seed and the tensor's name. A matrix is read in blocks of rows, 2 + 2 iterations times; memory is
// that of the factors and a block. Same bits for any number of threads.
#pragma once

#include <cstdint>
#include <vector>

#include "solera/checkpoint/peft.h"
#include "solera/weights/pass.h"

namespace solera::weights {

struct LowRank {
  std::int64_t rows = 0, columns = 0, rank = 0;
  std::vector<double> left, right;  // row-major

  // sum[i] += c dW[first + i] for a run of entries in row-major order.
  void add(std::int64_t first, std::int64_t count, double c, double* sum) const;
};

std::vector<double> transposed(const std::vector<double>& matrix, std::int64_t rows, std::int64_t columns);

// An adapter's factors for its target, s included.
LowRank factors_of(const checkpoint::Adapter& adapter, const checkpoint::AdapterModule& module,
                   const checkpoint::AdapterTarget& target);

// What it adds to the bias of its target, s included, as one row.
LowRank bias_of(const checkpoint::Adapter& adapter, const checkpoint::AdapterModule& module);

struct RankOptions {
  std::int64_t rank = 16;
  std::uint64_t seed = 0;
  int oversample = 10, power_iterations = 2;
  std::int64_t exact_below = 192;  // a smaller side than this is decomposed as it is
};

// The change between two tensors of one shape, its first axis the rows. Singular values are split evenly between the
// factors. `kept` is the factors' share of the squared norm, 1 for no change. Throws Error (input) for values that are
// not finite.
struct BestFactors {
  LowRank factors;
  double squared_norm = 0, kept = 0;  // ||D||^2, and sum of the squared singular values that are kept
};
BestFactors best_factors(const Engine& engine, const Operand& base, const Operand& tuned, const RankOptions& options);

}  // namespace solera::weights
