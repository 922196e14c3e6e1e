// A model's embedding as it would be with another vocabulary: rows taken from here and there, made as they are read.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "solera/checkpoint/checkpoint.h"

namespace solera::merge {

// Row r of the output is the mean of origins[first[r]] to origins[first[r + 1] - 1]; zeros where there are none.
struct RowPlan {
  struct Origin {
    std::uint32_t table = 0;
    std::int64_t row = 0;
  };
  std::vector<std::uint64_t> first = {0};
  std::vector<Origin> origins;
  std::int64_t padding = 0;  // rows behind them that hold the mean of all before

  std::int64_t rows() const { return static_cast<std::int64_t>(first.size()) - 1 + padding; }
  void add(std::vector<Origin> row);
};

// A tensor of the name, type and row width of `tables[own]` and the rows of the plan. The tables have the same shape
// but for their first axis, and outlive nothing: their sources are shared. Means are formed in float64 and rounded
// once.
checkpoint::Tensor aligned_tensor(std::vector<checkpoint::Tensor> tables, std::size_t own,
                                  std::shared_ptr<const RowPlan> plan);

}  // namespace solera::merge
