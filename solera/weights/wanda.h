// The largest changes of a weight in each of its rows, counted by the size of the inputs that they meet.
//
//   score_ij = |d_ij| ||x_j||_2        kept: the first k of every row, k = max(1, round(density in)), halves up
//
// Sun et al., "A simple and effective pruning approach for large language models", ICLR 2024, arXiv 2306.11695 (WANDA),
// as Deng et al., arXiv 2410.09344, apply it to changes. Equal scores go by place, the earlier column first. ||x_j|| is
// the root of NAME.input_sq. Cost: one read of the weights and 16 bytes a row.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "solera/checkpoint/statistics.h"
#include "solera/weights/select.h"

namespace solera::weights {

// max(1, round(density n)), halves up, exact from the density's decimal text.
std::int64_t columns_kept(double density, std::int64_t n);

class RowCuts {
 public:
  // `pair`: the base's weight and the tuned one, [out, ...]. Throws Error (input): statistics without its input_sq, an
  // input_sq that is negative, not finite or all 0. Changes that are not finite count as 0.
  RowCuts(const Engine& engine, std::span<const Operand> pair, const checkpoint::Statistics& inputs, double density);

  // Is entry `index`, which changes by d, among the first of its row?
  bool keeps(std::int64_t index, double d) const {
    const std::int64_t row = index / columns_, column = index % columns_;
    const Cut<double>& cut = cuts_[static_cast<std::size_t>(row)];
    const double score = score_of(d, column);
    return score > cut.value || (score == cut.value && column <= cut.last);
  }

 private:
  double score_of(double d, std::int64_t column) const {
    return (d < 0 ? -d : d) * norms_[static_cast<std::size_t>(column)];
  }

  std::int64_t columns_;
  std::vector<double> norms_;
  std::vector<Cut<double>> cuts_;
};

// Which of n columns a random choice of columns_kept(density, n) of them keeps; a function of seed and name.
std::vector<bool> random_columns(std::uint64_t seed, const std::string& tensor, std::int64_t n, double density);

}  // namespace solera::weights
