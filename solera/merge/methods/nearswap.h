// NearSwap: take over another model's entries where they are near, and less of them the further they are away.
//
//   w   = t / max(|a - b|, 1e-6), between 0 and 1           a: the base, b: the other model, entry by entry
//   out = w b + (1 - w) a                                   a step of at most t from the base
//
// alchemonaut 2024 (huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001), as in mergekit. Shapes: any, both alike.
// t = 0 gives the base. Cost: one read of each input.
#pragma once

#include <span>

#include "solera/merge/method.h"

namespace solera::merge {

struct NearswapParams {
  double t = 0;
};
template <class Visitor>
void fields(NearswapParams& p, Visitor&& field) {
  field("t", p.t, "largest step; entries at most this far away are swapped", "[0, inf)").must();
}

// The formula in memory. Requires equal sizes.
void nearswap(std::span<const float> base, std::span<const float> other, const NearswapParams& params,
              std::span<float> out);

Method nearswap_method();

}  // namespace solera::merge
