// How large a model's changes are, and which sparse delta that speaks for.
//
// A rule of thumb, not a law: by mean |d| over the floating-point entries that are compared,
//   up to 0.002   random shares with a searched q: such fine-tunes stand random dropping of most entries
//   above 0.01    wanda or magnitude: a random share times 1/q adds more noise than the change has signal
//   between       try both: which wins depends on the density
//
// The choice by size is that of Deng et al., ICLR 2025, arXiv 2410.09344, who name no bounds that are known here. The
// first is the range that Yu et al., ICML 2024, arXiv 2311.03099, report for fine-tuned language models; the second
// lies where recipes/darex.yaml sees the order turn around. Weights of another scale move both.
#pragma once

#include <cstdint>
#include <span>

#include "solera/weights/make_delta.h"

namespace solera::weights {

inline constexpr double kSmallChange = 0.002, kLargeChange = 0.01;

struct ChangeSize {
  std::int64_t entries = 0;               // floating-point
  double mean = 0, root_mean_square = 0;  // of |d|
};
enum class Advice { kRescale, kTryBoth, kImportance };
Advice advice_for(double mean_change);

// One read of both models. Throws Error (input) for values that are not finite.
ChangeSize change_size(const Engine& engine, const checkpoint::Checkpoint& base, const checkpoint::Checkpoint& tuned,
                       std::span<const TensorPair> pairs);

}  // namespace solera::weights
