// How much the regions of several sparse deltas have in common.
//
//   overlap(i, j) = |region i and region j| / |region j|          not symmetric
//
// Panigrahi et al., ICML 2023, arXiv 2302.06600 (section on multi-task models). A region is what a delta's masks mark;
// a tensor stored without a mask is in it as a whole.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "solera/checkpoint/delta.h"
#include "solera/weights/pass.h"

namespace solera::weights {

struct Overlap {
  std::vector<std::int64_t> sizes;                   // of each region
  std::vector<std::vector<std::int64_t>> shared;     // entries in both i and j; the sizes on the diagonal
  std::int64_t together = 0;                         // in any of them
  double share(std::size_t i, std::size_t j) const;  // of j that is in i too; 0 for an empty region
};

// Bytes [first, first + target.size()) of a delta's mask of a tensor with so many entries: none, its own, or all ones.
void read_region(const checkpoint::Delta& delta, std::string_view tensor, std::int64_t entries, std::int64_t first,
                 std::span<std::byte> target);

// Throws Error (input) where two deltas give a tensor different shapes.
Overlap find_overlap(const Engine& engine, std::span<const checkpoint::Delta> deltas);

}  // namespace solera::weights
