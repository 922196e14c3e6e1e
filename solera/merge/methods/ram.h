// RAM: changes that one model alone made are added whole, changes that several made are averaged over those.
//
//   d_i = x_i - base,   active where |d_i| > epsilon
//   out = base + d_i               where model i alone is active
//   out = base + mean of the d_i   over the active ones, where there are several
//   out = base                     where none is
//
// Yuan et al. 2026, "Reinforced Agent Merging", arXiv 2601.13572: sparse updates of reinforcement learning are not
// diluted by models that left an entry alone. Shapes: any, all inputs alike. Cost: one read of each input.
#pragma once

#include <span>
#include <vector>

#include "solera/merge/method.h"
#include "solera/merge/methods/changes.h"
#include "solera/weights/mixing.h"

namespace solera::merge {

inline constexpr const char* kEpsilonMeaning = "changes up to this size count as none";

struct RamParams {
  double epsilon = 1e-5;
};
template <class Visitor>
void fields(RamParams& p, Visitor&& field) {
  field("epsilon", p.epsilon, kEpsilonMeaning, "[0, inf)");
}

// One stretch: the base plus the mean of active changes, one that stands alone times its model's factor.
template <class T>
void add_active(double epsilon, std::span<const T> alone, const T* base, std::span<T* const> changes, std::int64_t n,
                T* out) {
  weights::mean_of_active<T>(static_cast<T>(epsilon), alone, changes, n, out);
  add_to_base(base, 1.0, out, n, out);
}
template <class T>
void map_active(const TensorPass& pass, double epsilon, std::span<const T> alone) {
  map_changes<T>(pass, [&](const weights::Tile<T>& tile, std::span<T* const> changes, T* out) {
    add_active<T>(epsilon, alone, tile[0], changes, tile.count, out);
  });
}

// The formula in memory. Requires equal sizes.
void ram(std::span<const float> base, std::span<const std::span<const float>> tuned, const RamParams& params,
         std::span<float> out);

Method ram_method();

}  // namespace solera::merge
